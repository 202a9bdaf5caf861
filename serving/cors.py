"""CORS: the headers by which a browser lets pages of other origins read an answer.

Values are TensorFlow Serving's (`model_servers/http_rest_api_util.cc`). A page sends the token in a
header, which the browser has to be told of.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Headers = tuple[tuple[bytes, bytes], ...]

_Message = MutableMapping[str, Any]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Message, Callable[[], Awaitable[_Message]], _Send], Awaitable[None]]


def headers(*, token: bool) -> Headers:
    """Return the headers of every answer, errors included.

    Args:
        token: whether requests have to bring one.
    """
    return (
        (b"access-control-allow-origin", b"*"),
        (b"access-control-allow-methods", b"POST, GET"),
        (
            b"access-control-allow-headers",
            b"Content-Type, Authorization, X-Auth-Token" if token else b"Content-Type",
        ),
    )


def allowing(app: _App, further: Headers, below: str) -> _App:
    """Return an ASGI application whose answers have these headers, once each.

    It answers a browser's question beforehand, OPTIONS, by itself.

    Args:
        app: answers all other requests.
        further: from `headers`.
        below: path below which the answers have them.
    """
    names = {name for name, _ in further}

    async def allowed(
        scope: _Message, receive: Callable[[], Awaitable[_Message]], send: _Send
    ) -> None:
        async def with_headers(message: _Message) -> None:
            if message["type"] == "http.response.start":
                own = [pair for pair in message.get("headers", ()) if pair[0].lower() not in names]
                message = {**message, "headers": [*own, *further]}
            await send(message)

        if scope["type"] != "http" or not scope["path"].startswith(below):
            await app(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            none = (b"content-length", b"0")
            await with_headers({"type": "http.response.start", "status": 200, "headers": [none]})
            await send({"type": "http.response.body"})
        else:
            await app(scope, receive, with_headers)

    return allowed
