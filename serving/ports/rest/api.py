"""The HTTP edge: TensorFlow Serving's REST API as a plain ASGI application on uvicorn.

Paths, texts and codes follow `model_servers/http_rest_api_handler.cc` and `http_server.cc`. A
framework's router would be in the way: paths are matched without regard to case, and a query string
makes a request malformed.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import nullcontext
from typing import Any
from urllib.parse import unquote

from google.protobuf import json_format  # type: ignore[import-untyped]

from ... import metrics
from ...config import ServerConfig
from ...errors import HTTP_STATUS, InvalidArgument, ServingError, as_serving_error
from ...event_loop import EventLoop
from ...models.registry import Models
from ...predict.call import run
from ...predict.status import model_metadata, model_status
from ...wire import json_document, json_errors
from ..admission import Admission
from .body import Receive, TooLargeError, read, unpack
from .methods import METHODS, Method

_TARGET = (
    r"(?i:/v1/models(?:/(?P<name>[^/:]+))?"
    r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?)"
)
_RUN = re.compile(_TARGET + r":(?P<method>(?i:classify|regress|predict))")
_LOOK = re.compile(_TARGET + r"(?P<metadata>(?i:/metadata))?")
_MAX_INT64 = 2**63 - 1
_CORS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"POST, GET"),
    (b"access-control-allow-headers", b"Content-Type"),
)

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


class RestApi:
    """ASGI application.

    For short predictions only the model runs in a thread; batched ones need no thread. The rest is
    Python, which holds the GIL anyway. Long ones are also read and answered in threads.

    Args:
        loop: what it runs on.
        metrics_path: answers with the metrics, in Prometheus' text form; empty: nothing does.
    """

    def __init__(
        self, loop: EventLoop, models: Models, config: ServerConfig, metrics_path: str
    ) -> None:
        self._metrics_path = metrics_path
        self._models = models
        self._most_bytes = config.max_request_bytes
        self._timeout_ms = config.rest_api_timeout_in_ms
        self._cors = _CORS if config.rest_api_enable_cors_support else ()
        self._loop = loop
        self._admission = Admission(config.rest_threads + config.max_waiting_requests)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        method: str = scope["method"]
        path = scope["raw_path"].decode("latin-1")
        if scope["query_string"]:
            path += "?" + scope["query_string"].decode("latin-1")
        headers = dict(scope["headers"])
        content_type = b"application/json"
        further = self._cors
        if method == "OPTIONS":
            origin = headers.get(b"origin", b"")
            status, body = (200 if b"http://" in origin or b"https://" in origin else 400), b""
        elif self._metrics_path and path == self._metrics_path:
            status, body, content_type = 200, metrics.page().encode(), b"text/plain"
        elif not path.lower().startswith("/v1/"):
            status, body, content_type = 404, _NOT_FOUND_PAGE, b"text/html"
        else:
            try:
                content = await read(receive, headers, self._most_bytes)
            except TooLargeError as error:
                status, body = 413, json_errors.dump({"error": str(error)}).encode()
                # The rest of the body is not read.
                further = (*further, (b"connection", b"close"))
            else:
                if content is None:
                    return
                status, body = await self._answered(method, path, content, headers)
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (b"content-type", content_type),
                    (b"content-length", str(len(body)).encode()),
                    *further,
                ],
            }
        )
        await send({"type": "http.response.body", "body": body})

    async def _answered(
        self, method: str, path: str, content: bytes, headers: Mapping[bytes, bytes]
    ) -> tuple[int, bytes]:
        """Return HTTP status and JSON body for one request below `/v1/`."""
        gzip = b"gzip" in headers.get(b"content-encoding", b"")
        try:
            # Whoever asks for the status is not refused: it may be a probe.
            with self._admission if method == "POST" else nullcontext():
                match = _RUN.fullmatch(path) if method == "POST" else None
                if match and match["name"]:
                    text = await self._run(match, content, gzip=gzip)
                else:
                    text = await self._loop.in_thread(self._look, method, path)
            return 200, text.encode()
        except Exception as error:
            return _error(as_serving_error(error))

    def _look(self, method: str, path: str) -> str:
        """Return status or metadata of a model."""
        match = _LOOK.fullmatch(path) if method == "GET" else None
        if not match:
            raise InvalidArgument(f"Malformed request: {method} {path}")
        if not match["name"]:
            raise InvalidArgument("Missing model name in request.")
        name, number, label = _target(match)
        if match["metadata"]:
            with self._models.lease(name, number, label) as version:
                response = model_metadata(version)
        else:
            response = model_status(self._models.statuses(name, number))
        text: str = json_format.MessageToJson(
            response,
            indent=1,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )
        return text

    async def _run(self, match: re.Match[str], content: bytes, *, gzip: bool) -> str:
        """Return the answer to predict, classify or regress."""
        name, number, label = _target(match)
        api = match["method"].lower()
        method = METHODS[api]
        long = gzip or len(content) > method.short_bytes
        with metrics.counted(self._models.metric_name(name), api, "REST"):
            request = await self._loop.call(long, _parse, method, content, gzip=gzip)
            with self._models.lease(name, number, label) as version:
                call = await self._loop.call(long, method.read, version, request)
                outputs = await run(self._loop, version, call, lambda: self._timeout_ms)
            return await self._loop.call(long or call.is_long(outputs), call.answer, outputs)


_NOT_FOUND_PAGE = (
    b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n"
    b"</BODY></HTML>\n"
)


def _parse(method: Method, content: bytes, *, gzip: bool) -> Any:
    return method.parse(json_document.parse(unpack(content) if gzip else content))


def _target(match: re.Match[str]) -> tuple[str, int | None, str]:
    """Return name, version and label of a matched path."""
    number = None
    if match["version"]:
        number = int(match["version"])
        if number > _MAX_INT64:
            raise InvalidArgument(f"Failed to convert version: {match['version']} to numeric.")
    return unquote(match["name"]), number, unquote(match["label"] or "")


def _error(error: ServingError) -> tuple[int, bytes]:
    """Return HTTP status and JSON body of an error."""
    return HTTP_STATUS[error.code], json_errors.dump({"error": error.message}).encode()
