"""The model server's REST interface, passed on as it is.

TensorFlow Serving's REST port has neither encryption nor a token. Where they are asked for, clients
reach it through the gateway alone, which has both.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack

import urllib3
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from .limits import Predictions
from .memory import Bodies

log = logging.getLogger("serving.gateway")

_PASSED_ON = (
    *("content-type", "content-encoding", "accept-encoding"),
    *("origin", "access-control-request-method", "access-control-request-headers"),
)
_PASSED_BACK = (
    *("content-type", "content-length", "content-encoding", "retry-after", "vary", "allow"),
    *("access-control-allow-origin", "access-control-allow-methods"),
    *("access-control-allow-headers", "access-control-max-age", "access-control-expose-headers"),
)
_PART_BYTES = 256 * 1024


def route(
    http: urllib3.PoolManager,
    rest_url: str,
    headers: Mapping[str, str],
    predictions: Predictions,
    bodies: Bodies,
) -> Route:
    """Return the route of everything below `/v1/models`.

    Args:
        http: connections to the model server.
        rest_url: of its REST port, without a slash at the end.
        headers: that it asks for.
        predictions: counts each POST.
        bodies: counts their bytes.
    """

    async def pass_on(request: Request) -> Response:
        target = request.scope["raw_path"].decode("latin-1")
        if query := request.scope["query_string"].decode("latin-1"):
            target += f"?{query}"
        counted = request.method == "POST"
        if counted:
            predictions.refuse_if_full()
        passed = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        with ExitStack() as stack:
            body = stack.enter_context(bodies.counted(request))
            # In the parts in which it came: one copy of it is enough.
            parts = [part async for part in body.chunks()]
            if counted:
                stack.enter_context(predictions.one_more())
                passed["content-length"] = str(body.size)
            try:
                answer = await run_in_threadpool(
                    http.request,
                    request.method,
                    rest_url + target,
                    body=iter(parts) if counted else None,
                    headers=passed | dict(headers),
                    preload_content=False,
                    decode_content=False,
                )
            except urllib3.exceptions.HTTPError as error:
                log.warning("%s %s: %s", request.method, target, error)
                raise silence(rest_url, error) from None
            parts.clear()
            # It counts until the answer is sent, which may be large and its reader slow.
            kept = stack.pop_all()
        back = {name: answer.headers[name] for name in _PASSED_BACK if name in answer.headers}
        return StreamingResponse(_parts(answer, kept), answer.status, headers=back)

    return Route("/v1/models{rest:path}", pass_on, methods=["GET", "POST", "OPTIONS"])


def silence(rest_url: str, error: urllib3.exceptions.HTTPError) -> HTTPException:
    """Return what to answer for a model server that does not."""
    if isinstance(error, urllib3.exceptions.ReadTimeoutError):
        return HTTPException(504, f"The model server at {rest_url} takes too long to answer.")
    return HTTPException(503, f"The model server at {rest_url} does not answer.")


async def _parts(answer: urllib3.BaseHTTPResponse, kept: ExitStack) -> AsyncIterator[bytes]:
    whole = False
    try:
        with kept:
            while part := await run_in_threadpool(answer.read, _PART_BYTES):
                yield part
            whole = True
    finally:
        if whole:
            answer.release_conn()
        else:
            # What is left of it must not be taken for the next answer.
            answer.close()
