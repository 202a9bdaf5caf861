"""The REST API as a plain ASGI application on uvicorn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import nullcontext
from typing import Any

from ... import metrics
from ...budget import LARGE_BYTES, Budget, Hold
from ...config import ServerConfig
from ...errors import ServingError
from ...event_loop import EventLoop
from ...models.registry import Models
from ...predict.call import NO_DEADLINE, run, too_late
from ...predict.memory import input_bytes
from ...wire import json_errors
from ..admission import Admission
from .api import Prediction, Response, RestApi, failed
from .body import Receive, TooLargeError, read
from .protocol import GONE

Message = MutableMapping[str, Any]
_LATE = 0.1
"""Seconds after its limit when a request is given up: a run ends by itself at the limit."""

Send = Callable[[Message], Awaitable[None]]


class RestApplication:
    """ASGI application.

    For short predictions only the model runs in a thread; batched ones need no thread. The rest is
    Python, which holds the GIL anyway. Long ones are also read and answered in threads.

    Args:
        loop: what it runs on.
        models: what is served.
        budget: of the memory for all requests.
        config: of the server.
        metrics_path: see `RestApi`.
    """

    def __init__(
        self,
        loop: EventLoop,
        models: Models,
        budget: Budget,
        config: ServerConfig,
        metrics_path: str,
    ) -> None:
        self._api = RestApi(models, config, metrics_path)
        self.headers = self._api.headers
        """Of every response."""
        self._models = models
        self._budget = budget
        self._most_bytes = config.max_request_bytes
        self._timeout_ms = config.rest_api_timeout_in_ms
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
        further = self.headers
        response = self._api.answer_unread(method, path, headers)
        read_whole = response is not None
        with self._budget.hold() as hold:
            if response is None:
                try:
                    content = await read(receive, headers, self._most_bytes, hold)
                except TooLargeError as error:
                    response = Response(413, json_errors.body(str(error)))
                except ServingError as error:
                    response = failed(error)
                else:
                    if content is None:
                        return
                    response = await self._unless_gone(scope, method, path, content, headers, hold)
                    if response is None:
                        return
                    read_whole = True
            if not read_whole:
                # The rest of the body is not read.
                further = (*further, (b"connection", b"close"))
            await _send(send, response, further)

    async def _unless_gone(
        self,
        scope: MutableMapping[str, Any],
        method: str,
        path: str,
        content: bytes,
        headers: Mapping[bytes, bytes],
        hold: Hold,
    ) -> Response | None:
        """Return the response to a request within its time; None: the client has gone."""
        deadline = time.monotonic() + self._timeout_ms / 1000 if self._timeout_ms else NO_DEADLINE
        task = asyncio.current_task()
        assert task is not None
        late = None
        if self._timeout_ms:
            late = asyncio.get_running_loop().call_later(
                self._timeout_ms / 1000 + _LATE, task.cancel
            )
        # Called by the connection once it is lost.
        scope[GONE] = task.cancel
        try:
            return await self._answered(method, path, content, headers, hold, deadline)
        except asyncio.CancelledError:
            # Nothing of it waits or runs any more.
            return failed(too_late()) if time.monotonic() >= deadline else None
        finally:
            scope[GONE] = None
            if late is not None:
                late.cancel()

    async def _answered(
        self,
        method: str,
        path: str,
        content: bytes,
        headers: Mapping[bytes, bytes],
        hold: Hold,
        deadline: float,
    ) -> Response:
        """Return the response to one request below `/v1/`."""
        gzip = b"gzip" in headers.get(b"content-encoding", b"")
        try:
            # Whoever asks for the status is not refused: it may be a probe.
            with self._admission if method == "POST" else nullcontext():
                prediction = self._api.prediction(method, path)
                if prediction is None:
                    return self._api.look(method, path)
                body = await self._run(prediction, content, hold, deadline, gzip=gzip)
            return Response(200, body)
        except Exception as error:
            return failed(error)

    async def _run(
        self, prediction: Prediction, content: bytes, hold: Hold, deadline: float, *, gzip: bool
    ) -> bytes:
        """Return the answer to predict, classify or regress."""
        name, method = prediction.name, prediction.method
        long = prediction.is_long(len(content), gzip=gzip)
        with metrics.counted(self._models.metric_name(name), prediction.api, "REST"):
            request = await self._loop.call(long, prediction.parse, content, hold, gzip=gzip)
            with self._models.lease(name, prediction.number, prediction.label) as version:
                call = await self._loop.call(long, method.read, version, request)
                hold.add(input_bytes(call.inputs, shrinks_jpeg=call.signature.shrinks_jpeg))
                outputs = await run(self._loop, version, call, hold, deadline)
            return await self._loop.call(long or call.is_long(outputs), call.answer, outputs)


async def _send(send: Send, response: Response, further: Iterable[tuple[bytes, bytes]]) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": response.status,
            "headers": [
                (b"content-type", response.content_type),
                (b"content-length", str(len(response.body)).encode()),
                *further,
            ],
        }
    )
    large = len(response.body) > LARGE_BYTES
    await send({"type": "http.response.body", "body": response.body, "more_body": large})
    if large:
        # uvicorn waits here until most of the body has gone: it takes memory until then.
        await send({"type": "http.response.body", "body": b""})
