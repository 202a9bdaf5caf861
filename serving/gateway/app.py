"""`python3 -m serving.gateway`: pictures as form fields over HTTP, and a page to try the model on.

Stands in front of the REST port of a model server, TensorFlow Serving's own included; holds no
model itself.
"""

from __future__ import annotations

import argparse
import base64
import json
import logging
import socket
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import urllib3
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .. import logs
from ..errors import ServingError
from ..ports.authentication import Token
from . import page, rest_proxy
from .limits import BODY_SECONDS, MOST_PREDICTIONS, Predictions, TimedBodies
from .pictures import BadPicture, prepare_digit

log = logging.getLogger("serving.gateway")

FORM_FIELD = "images"
"""As the managed services' RESTful interface calls it: a contract with existing clients."""

SIGNATURE = "image_bytes"
MOST_FILES = 16
MOST_FILE_BYTES = 4 * 2**20
MOST_REQUEST_BYTES = 16 * 2**20

_TIMEOUT = urllib3.Timeout(connect=2, read=30)
_HEADERS = {
    # The page is whole without the internet; this makes sure that it stays so.
    "content-security-policy": "default-src 'self'; img-src 'self' data: blob:; "
    "frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class BackendError(Exception):
    """The model server did not answer as hoped; `status` is for the gateway's own answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class ModelServer:
    """The REST port of a model server, for one model. Its methods block.

    Raises:
        BackendError: from every method, when the server can't be reached or refuses.
    """

    rest_url: str
    model_name: str
    manifest_dir: Path | None
    token: Token | None = None
    http: urllib3.PoolManager = field(
        default_factory=lambda: urllib3.PoolManager(maxsize=32, timeout=_TIMEOUT, retries=False)
    )

    @property
    def headers(self) -> dict[str, str]:
        """What the server asks for in each request."""
        return self.token.headers if self.token else {}

    def state(self) -> dict[str, Any]:
        """Return `{"version": ..., "state": ...}` of the version that would answer."""
        versions = self._call("GET", self._path())["model_version_status"]
        # Highest first: what serves, else what is coming or went wrong.
        best = next((v for v in versions if v["state"] == "AVAILABLE"), versions[0])
        return {"version": int(best["version"]), "state": best["state"]}

    def predict(self, pngs: Sequence[bytes]) -> tuple[int, dict[str, Any]]:
        """Return the version that answered and its outputs by name."""
        instances = [{"b64": base64.b64encode(png).decode()} for png in pngs]
        body = json.dumps({"signature_name": SIGNATURE, "inputs": instances}).encode()
        for last_try in (False, True):
            version = self.state()["version"]
            try:
                # By number, so that the answer is known to be this version's.
                answer = self._call("POST", f"{self._path()}/versions/{version}:predict", body)
                break
            except BackendError as error:
                # A newer version may have taken over in between.
                if last_try or error.status != 404:
                    raise
        outputs = answer["outputs"]
        return version, outputs if isinstance(outputs, dict) else {"predictions": outputs}

    def manifest(self, version: int) -> dict[str, Any]:
        """Return a version's manifest; empty where there is none."""
        if self.manifest_dir is None:
            return {}
        try:
            manifest = json.loads((self.manifest_dir / str(version) / "manifest.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return manifest if isinstance(manifest, dict) else {}

    def _path(self) -> str:
        return f"{self.rest_url}/v1/models/{quote(self.model_name, safe='')}"

    def _call(self, method: str, url: str, body: bytes | None = None) -> Any:
        try:
            response = self.http.request(method, url, body=body, headers=self.headers)
            answer = response.json()
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            log.warning("%s %s: %s", method, url, error)
            raise BackendError(
                503, f"The model server at {self.rest_url} does not answer."
            ) from None
        if response.status != 200:
            raise BackendError(response.status, str(answer.get("error", answer)))
        return answer


def needs_no_token(path: str) -> bool:
    """Say whether a path is of the page itself, which asks for the token, or of the probes."""
    return path in ("/", "/healthz") or path.startswith("/web/")


def application(
    server: ModelServer,
    tensorboard_url: str = "",
    *,
    max_predictions: int = MOST_PREDICTIONS,
    body_seconds: float = BODY_SECONDS,
) -> Starlette:
    """Return the gateway as an ASGI application."""
    predictions = Predictions(max_predictions)

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def status(_: Request) -> Response:
        answer: dict[str, Any] = {
            "model_name": server.model_name,
            "model_version": None,
            "state": "UNREACHABLE",
            "tensorboard_url": tensorboard_url,
        }
        try:
            state = await run_in_threadpool(server.state)
        except BackendError as error:
            return JSONResponse(answer | {"error": str(error)})
        manifest = await run_in_threadpool(server.manifest, state["version"])
        shown = ("metrics", "parameters", "run_hash", "created")
        return JSONResponse(
            answer
            | {"model_version": state["version"], "state": state["state"]}
            | {key: manifest[key] for key in shown if key in manifest}
        )

    async def predict(request: Request) -> Response:
        predictions.refuse_if_full()
        names, pictures = await _read_pictures(request)
        with predictions.one_more():
            pngs = []
            for name, picture in zip(names, pictures, strict=True):
                try:
                    pngs.append(await run_in_threadpool(prepare_digit, picture))
                except BadPicture as error:
                    raise HTTPException(400, f"Picture '{name}' is no use: {error}.") from error
            version, outputs = await run_in_threadpool(server.predict, pngs)
        seen = ["data:image/png;base64," + base64.b64encode(png).decode() for png in pngs]
        return JSONResponse(
            {"model_name": server.model_name, "model_version": version, "files": names}
            | outputs
            | {"seen": seen}
        )

    async def http_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)

    async def backend_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, BackendError)
        # The picture is sound by now: whatever the model server dislikes is no fault of the client.
        status = error.status if error.status in (429, 503, 504) else 502
        return JSONResponse({"error": str(error)}, status)

    async def client_gone(_: Request, _error: Exception) -> Response:
        return Response(status_code=499)  # Nobody reads it; the code is nginx's and gRPC's for it.

    app = Starlette(
        routes=[
            *page.routes(),
            Route("/healthz", healthz),
            Route("/status", status),
            Route("/v1/predict", predict, methods=["POST"]),
            rest_proxy.route(server.http, server.rest_url, server.headers, predictions),
        ],
        middleware=[Middleware(TimedBodies, seconds=body_seconds)],
        exception_handlers={
            HTTPException: http_error,
            BackendError: backend_error,
            ClientDisconnect: client_gone,
        },
        lifespan=predictions.threads,
    )
    return app


async def _read_pictures(request: Request) -> tuple[list[str], list[bytes]]:
    """Return names and contents of the files in the form field.

    Raises:
        HTTPException: no such form, no file, or more than the limits allow.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise HTTPException(
            415, f"Send multipart/form-data with picture files in the field '{FORM_FIELD}'."
        )
    parser = MultiPartParser(request.headers, _limited(request), max_files=MOST_FILES)
    # All in memory: the file system may be read-only, and the whole request is limited.
    parser.spool_max_size = MOST_REQUEST_BYTES
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise HTTPException(400, f"The form can't be read: {error.message}") from None
    names: list[str] = []
    pictures: list[bytes] = []
    try:
        for value in form.getlist(FORM_FIELD):
            if not isinstance(value, UploadFile):
                raise HTTPException(400, f"The field '{FORM_FIELD}' must hold files.")
            content = await value.read()
            if len(content) > MOST_FILE_BYTES:
                raise HTTPException(
                    413, f"'{value.filename}' is larger than {MOST_FILE_BYTES >> 20} MiB."
                )
            names.append(value.filename or f"picture {len(names) + 1}")
            pictures.append(content)
    finally:
        await form.close()
    if not pictures:
        raise HTTPException(400, f"The form has no file in the field '{FORM_FIELD}'.")
    return names, pictures


async def _limited(request: Request) -> AsyncGenerator[bytes, None]:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MOST_REQUEST_BYTES:
            raise HTTPException(413, f"The request is larger than {MOST_REQUEST_BYTES >> 20} MiB.")
        yield chunk


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
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
        "--max_predictions",
        type=int,
        default=MOST_PREDICTIONS,
        help=f"predictions at once; one more is answered 429; {MOST_PREDICTIONS}",
    )
    parser.add_argument(
        "--body_timeout",
        type=float,
        default=BODY_SECONDS,
        help=f"seconds in which a request's body has to arrive, else 408; {BODY_SECONDS:g}",
    )
    options = parser.parse_args(arguments)
    if not 1 <= options.max_predictions <= 1000:
        parser.error(f"--max_predictions is {options.max_predictions}. Use 1 to 1000.")
    if not 0 < options.body_timeout <= 3600:
        parser.error(f"--body_timeout is {options.body_timeout:g}. Use 0.1 to 3600 seconds.")
    if bool(options.tls_cert) != bool(options.tls_key):
        parser.error("--tls_cert and --tls_key belong together. Give both, or none.")
    logs.configure()
    try:
        token = Token.read(options.token_file)
    except ServingError as error:
        log.error("%s", error.message)
        return 1
    server = ModelServer(
        options.rest_url.rstrip("/"), options.model_name, options.manifest_dir, token
    )
    app = application(
        server,
        options.tensorboard_url,
        max_predictions=options.max_predictions,
        body_seconds=options.body_timeout,
    )
    try:
        listener = socket.create_server(("", options.port), backlog=1024)
        # asyncio leaves it off here, and then each answer waits 40 ms for the client's ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        log.error("Can't listen on port %d: %s.", options.port, error.strerror)
        return 1
    config = uvicorn.Config(
        token.guard(app, needs_no_token) if token else app,
        # Bounds headers; httptools, which uvicorn prefers, does not.
        http="h11",
        ssl_certfile=options.tls_cert,
        ssl_keyfile=options.tls_key,
        log_config=None,
        access_log=False,
        headers=list(_HEADERS.items()),
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one.
        log.error(
            "Can't use certificate '%s' with key '%s': %s.",
            options.tls_cert,
            options.tls_key,
            error.strerror or error,
        )
        return 1
    uvicorn.Server(config).run(sockets=[listener])
    return 0
