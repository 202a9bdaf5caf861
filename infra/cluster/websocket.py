"""The frames of WebSockets (RFC 6455), as the cluster's API and its clients send them."""

import struct
from collections.abc import Iterator

CONTINUATION, BINARY, CLOSE, PING, PONG = 0, 2, 8, 9, 10
"""Kinds of frames."""

_LAST = 0x80
_MASKED = 0x80
_NO_MASK = bytes(4)
"""A client has to mask what it sends, so that no web page can make it send what a proxy takes for
HTTP. Here nobody chooses what is sent, and each byte changed by 0 stays as it is."""


def frame(content: bytes, kind: int = BINARY) -> bytes:
    """Return a message of one frame, as a client sends it."""
    size = len(content)
    if size < 126:
        head = struct.pack("!BB", _LAST | kind, _MASKED | size)
    elif size < 2**16:
        head = struct.pack("!BBH", _LAST | kind, _MASKED | 126, size)
    else:
        head = struct.pack("!BBQ", _LAST | kind, _MASKED | 127, size)
    return head + _NO_MASK + content


class Messages:
    """What a server sends, put together from the pieces in which it arrives."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._begun, self._kind = b"", BINARY

    def read(self, received: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield kind and content of each message that is whole now; CLOSE at the end of it all.

        Args:
            received: what has arrived; empty: nothing comes any more.
        """
        if not received:
            yield CLOSE, b""
            return
        self._rest += received
        while (found := self._frame()) is not None:
            first, content = found
            kind = first & 0x0F
            if kind >= CLOSE:
                # They may come between the frames of a message.
                yield kind, content
                continue
            if kind != CONTINUATION:
                self._kind = kind
            self._begun += content
            if first & _LAST:
                yield self._kind, self._begun
                self._begun = b""

    def _frame(self) -> tuple[int, bytes] | None:
        """Take one frame off, if it is whole: its first byte and its content."""
        rest = self._rest
        if len(rest) < 2:
            return None
        size, start = rest[1] & 0x7F, 2
        if size == 126:
            size, start = int.from_bytes(rest[2:4]), 4
        elif size == 127:
            size, start = int.from_bytes(rest[2:10]), 10
        end = start + size
        if len(rest) < end:
            return None
        first, content = rest[0], bytes(rest[start:end])
        del rest[:end]
        return first, content
