"""CORS: the headers by which a browser lets pages of other origins read an answer.

Values are TensorFlow Serving's (`model_servers/http_rest_api_util.cc`). A page sends the token in a
header, which the browser has to be told of.
"""

from __future__ import annotations

Headers = tuple[tuple[bytes, bytes], ...]


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
