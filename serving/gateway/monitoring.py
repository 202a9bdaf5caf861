"""The gateway's metrics, and those of its model server, on a port of their own for Prometheus.

That port is no part of the service: it asks for neither token nor encryption, and answers with
numbers only. The model server's REST port may listen to nobody but the gateway.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import urllib3

from .. import metrics
from .backend import Backend
from .limits import Predictions
from .memory import Bodies

log = logging.getLogger("serving.gateway")

PATH = "/metrics"

_SERVER_SECONDS = 5.0
"""To wait for the model server's numbers: less than Prometheus waits for all of them."""

REQUESTS = metrics.Counter("dlstack_gateway_requests_total", "path", "code")
SECONDS = metrics.Histogram(
    "dlstack_gateway_request_duration_seconds", "path", bounds=metrics.exponential(0.001, 2, 16)
)
"""Until the answer is sent."""
PREDICTIONS = metrics.Gauge("dlstack_gateway_predictions")
MOST_PREDICTIONS = metrics.Gauge("dlstack_gateway_predictions_limit")
WAITING_BYTES = metrics.Gauge("dlstack_gateway_waiting_bytes")
MOST_WAITING_BYTES = metrics.Gauge("dlstack_gateway_waiting_bytes_limit")
SERVER_UP = metrics.Gauge("dlstack_gateway_model_server_up")

CLIENT_SECONDS = 10.0
"""To send a request, and to take the answer: whoever reaches the pod can open connections."""

_NOBODY_READS = 499
"""What is counted where no answer was begun: nginx's code for a client that is gone."""

_App = Callable[..., Awaitable[None]]


def label(path: str) -> str:
    """Return what a path counts as: whatever clients make up must not fill the memory."""
    if path in ("/healthz", "/status", "/v1/predict"):
        return path
    if path == "/" or path.startswith("/web/"):
        return "/"
    return "/v1/models" if path.startswith("/v1/models") else "other"


def counting(app: _App) -> _App:
    """Return an ASGI application that counts what `app` answers, and how long that takes."""

    async def counted(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        code, started = _NOBODY_READS, time.perf_counter()

        async def seen(message: MutableMapping[str, Any]) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            await send(message)

        try:
            await app(scope, receive, seen)
        except Exception:
            code = 500
            raise
        finally:
            path = label(scope["path"])
            REQUESTS.add(path, str(code))
            SECONDS.add(time.perf_counter() - started, path)

    return counted


def page(backend: Backend, predictions: Predictions, bodies: Bodies) -> bytes:
    """Return all metrics in Prometheus' text form."""
    server = b""
    try:
        answer = backend.http.request(
            "GET",
            backend.rest_url + metrics.DEFAULT_PATH,
            headers=backend.headers,
            timeout=_SERVER_SECONDS,
        )
        # TensorFlow Serving's may have been told to show none.
        server = answer.data if answer.status == 200 else b""
        SERVER_UP.set(1)
    except urllib3.exceptions.HTTPError:
        SERVER_UP.set(0)
    PREDICTIONS.set(predictions.under_way)
    MOST_PREDICTIONS.set(predictions.most)
    WAITING_BYTES.set(bodies.waiting)
    MOST_WAITING_BYTES.set(bodies.most_waiting)
    return metrics.page().encode() + server


def serve(port: int, of: Callable[[], bytes]) -> None:
    """Answer GET /metrics on a port with what `of` returns, in threads that end with the process.

    Raises:
        OSError: the port can't be listened on.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = CLIENT_SECONDS

        def do_GET(self) -> None:  # noqa: N802  # Its base class calls it by this name.
            found = self.path.partition("?")[0] == PATH
            body = of() if found else b"Ask for /metrics.\n"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: it is asked twice a minute."""

    server = ThreadingHTTPServer(("", port), Handler)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
