"""The body of an HTTP request: read whole, within its bounds, and unpacked."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from ...budget import Hold
from ...errors import InvalidArgument

_MAX_UNPACKED_BYTES = 100 * 2**20

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class TooLargeError(Exception):
    """The request's body is longer than it may be."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"The request's body is larger than the server takes: {most} bytes "
            "(--max_request_bytes). Send less at once."
        )


async def read(
    receive: Receive, headers: Mapping[bytes, bytes], most: int, hold: Hold
) -> bytes | None:
    """Return the whole request body; None when the client has gone.

    Args:
        receive: of the ASGI application.
        headers: of the request, with names in lower case.
        most: bytes of a body.
        hold: gets the bytes as they come.

    Raises:
        TooLargeError: more than `most` bytes are announced, or came.
        ServingError: there is no memory for it.
    """
    # Digits only: the HTTP server has seen to that.
    if int(headers.get(b"content-length", b"0")) > most:
        raise TooLargeError(most)
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        hold.add(len(parts[-1]))
        if size > most:
            raise TooLargeError(most)
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def unpack(content: bytes) -> bytes:
    try:
        # One object does not follow a chain of gzip members; a request has no reason for one.
        unpacker = zlib.decompressobj(wbits=31)
        unpacked = unpacker.decompress(content, _MAX_UNPACKED_BYTES)
    except zlib.error as error:
        raise InvalidArgument(f"Failed to uncompress gzip body: {error}") from None
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise InvalidArgument(
            f"Failed to uncompress gzip body: cut off, or over {_MAX_UNPACKED_BYTES} bytes."
        )
    return unpacked
