"""The model server's REST interface, passed on as it is.

TensorFlow Serving's REST port has neither encryption nor a token. Where they are asked for, clients
reach it through the gateway alone, which has both.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import nullcontext

import urllib3
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .limits import Predictions

log = logging.getLogger("serving.gateway")

MOST_REQUEST_BYTES = 128 * 2**20

_PASSED_ON = ("content-type", "content-encoding")


def route(
    http: urllib3.PoolManager, rest_url: str, headers: Mapping[str, str], predictions: Predictions
) -> Route:
    """Return the route of everything below `/v1/models`.

    Args:
        http: connections to the model server.
        rest_url: of its REST port, without a slash at the end.
        headers: that it asks for.
        predictions: counts each POST.
    """

    async def pass_on(request: Request) -> Response:
        target = request.scope["raw_path"].decode("latin-1")
        if query := request.scope["query_string"].decode("latin-1"):
            target += f"?{query}"
        counted = request.method == "POST"
        if counted:
            predictions.refuse_if_full()
        body = await _body(request)
        passed = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        try:
            with predictions.one_more() if counted else nullcontext():
                answer = await run_in_threadpool(
                    http.request,
                    request.method,
                    rest_url + target,
                    body=body,
                    headers=passed | dict(headers),
                )
        except urllib3.exceptions.HTTPError as error:
            log.warning("%s %s: %s", request.method, target, error)
            raise HTTPException(503, f"The model server at {rest_url} does not answer.") from None
        return Response(answer.data, answer.status, media_type=answer.headers.get("content-type"))

    return Route("/v1/models{rest:path}", pass_on, methods=["GET", "POST"])


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MOST_REQUEST_BYTES:
            raise HTTPException(413, f"The request is larger than {MOST_REQUEST_BYTES >> 20} MiB.")
        parts.append(chunk)
    return b"".join(parts)
