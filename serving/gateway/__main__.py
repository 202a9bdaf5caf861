"""`python3 -m serving.gateway`: a page to try a model on, and pictures as form fields over HTTP.

Stands in front of the REST port of a model server, TensorFlow Serving's own included; holds no
model itself.
"""

from __future__ import annotations

import argparse
import logging
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from .. import cors, logs
from ..authentication import Token
from ..errors import ServingError
from ..goodbye import Ending, PatientServer, telling
from . import monitoring
from .app import application, needs_no_token
from .backend import SERVER_TIMEOUT_MS, Backend, connections
from .connections import bounded
from .forms import MOST_FILES
from .limits import BODY_SECONDS, MOST_PREDICTIONS, THREADS_BESIDE, Predictions
from .memory import Bodies, default_budget

log = logging.getLogger("serving.gateway")

_KEEP_ALIVE_SECONDS = 75
"""More than the idle time of the proxies and load balancers before it."""

_MOST_REQUEST_BYTES = 128 * 2**20

_HEADERS = {
    # The page is whole without the internet; this makes sure that it stays so.
    "content-security-policy": "default-src 'self'; img-src 'self' data: blob:; "
    "frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 -m serving.gateway", description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="TCP port, on all addresses; 8080")
    parser.add_argument("--model_name", required=True, help="name of the served model; no default")
    parser.add_argument(
        "--rest_url",
        default="http://127.0.0.1:8501",
        help="REST port of the model server; http://127.0.0.1:8501",
    )
    parser.add_argument(
        "--manifest_dir",
        type=Path,
        help="folder with <version>/manifest.json, for the metrics; default: show none",
    )
    parser.add_argument(
        "--tensorboard_url", default="", help="address that the page links to; default: no link"
    )
    parser.add_argument(
        "--tls_cert", help="PEM file with the server's certificate; default: plain HTTP"
    )
    parser.add_argument("--tls_key", help="PEM file with its key")
    parser.add_argument(
        "--token_file",
        default="",
        help="file with the token that requests have to bring, and that the model server asks for; "
        "default: none",
    )
    parser.add_argument(
        "--metrics_port",
        type=int,
        default=0,
        help="TCP port, on all addresses, for Prometheus: GET /metrics, the model server's among "
        "them; default: none",
    )
    parser.add_argument(
        "--max_predictions",
        type=int,
        default=MOST_PREDICTIONS,
        help=f"predictions at once; one more is answered 429; {MOST_PREDICTIONS}",
    )
    parser.add_argument(
        "--body_timeout",
        type=float,
        default=BODY_SECONDS,
        help="seconds for a request's headers, and then for its body, with one more for each "
        f"32 KiB of it, else 408; {BODY_SECONDS:g}",
    )
    parser.add_argument(
        "--max_files",
        type=int,
        default=MOST_FILES,
        help=f"picture files in one form, else 413; {MOST_FILES}",
    )
    parser.add_argument(
        "--max_request_bytes",
        type=int,
        default=_MOST_REQUEST_BYTES,
        help=f"bytes of one request's body, else 413; {_MOST_REQUEST_BYTES}",
    )
    parser.add_argument(
        "--max_waiting_bytes",
        type=int,
        default=default_budget(),
        help="bytes of the bodies of all requests that wait for their answer, else 429; "
        "a quarter of the container's memory",
    )
    parser.add_argument(
        "--rest_api_timeout_in_ms",
        type=int,
        default=SERVER_TIMEOUT_MS,
        help="the model server's flag of this name: the gateway waits longer for an answer; "
        f"{SERVER_TIMEOUT_MS}",
    )
    parser.add_argument(
        "--drain_seconds",
        type=float,
        default=2.0,
        help="how long requests under way may take after SIGTERM, and clients of kept connections "
        "to learn of it; 2",
    )
    parser.add_argument(
        "--rest_api_enable_cors_support",
        action="store_true",
        help="let web pages of any origin ask below /v1/, with the token if there is one",
    )
    options = parser.parse_args(arguments)
    if not 1 <= options.max_predictions <= 1000:
        parser.error(f"--max_predictions is {options.max_predictions}. Use 1 to 1000.")
    if not 0 < options.body_timeout <= 3600:
        parser.error(f"--body_timeout is {options.body_timeout:g}. Use 0.1 to 3600 seconds.")
    for name in ("max_files", "max_request_bytes", "max_waiting_bytes", "rest_api_timeout_in_ms"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} is {getattr(options, name)}. Use 1 or more.")
    if bool(options.tls_cert) != bool(options.tls_key):
        parser.error("--tls_cert and --tls_key belong together. Give both, or none.")
    return options


def _listen(port: int) -> socket.socket:
    listener = socket.create_server(("", port), backlog=1024)
    # asyncio leaves it off here, and then each answer waits 40 ms for the client's ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _uvicorn(
    app: ASGIApp, header_seconds: float, certificate: str | None, key: str | None, ending: Ending
) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http=telling(bounded(header_seconds), ending),
        ssl_certfile=certificate,
        ssl_keyfile=key,
        log_config=None,
        access_log=False,
        headers=list(_HEADERS.items()),
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )
    config.load()
    return config


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _parse(arguments)
    logs.configure()
    try:
        token = Token.read(options.token_file)
    except ServingError as error:
        log.error("%s", error.message)
        return 1
    most = options.max_predictions
    backend = Backend(
        options.rest_url.rstrip("/"),
        options.model_name,
        options.manifest_dir,
        connections(most + THREADS_BESIDE, options.rest_api_timeout_in_ms),
        token,
    )
    predictions = Predictions(most)
    bodies = Bodies(options.max_request_bytes, options.max_waiting_bytes)
    app: ASGIApp = application(
        backend,
        predictions,
        bodies,
        tensorboard_url=options.tensorboard_url,
        most_files=options.max_files,
        body_seconds=options.body_timeout,
    )
    port = options.port
    try:
        listener = _listen(port)
        if options.metrics_port:
            port = options.metrics_port
            monitoring.serve(port, lambda: monitoring.page(backend, predictions, bodies))
    except OSError as error:
        log.error("Can't listen on port %d: %s.", port, error.strerror)
        return 1
    if token is not None:
        app = token.guard(app, needs_no_token)
    if options.rest_api_enable_cors_support:
        app = cors.allowing(app, cors.headers(token=token is not None), "/v1/")
    ending = Ending()
    if options.metrics_port:
        app = monitoring.counting(app)
    try:
        config = _uvicorn(app, options.body_timeout, options.tls_cert, options.tls_key, ending)
    except OSError as error:  # ssl.SSLError is one.
        log.error(
            "Can't use certificate '%s' with key '%s': %s.",
            options.tls_cert,
            options.tls_key,
            error.strerror or error,
        )
        return 1
    PatientServer(config, ending, options.drain_seconds).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
