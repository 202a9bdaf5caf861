"""HTTP/1.1 by httptools, which takes a tenth of h11's time, and a bound for headers."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MOST_BYTES = 64 * 2**10
"""Of headers, trailers and the like. Node.js, whose parser it is, takes 16 KiB, h11 64 KiB."""


class BoundedHttpToolsProtocol(HttpToolsProtocol):
    """Answers 400 to headers that don't end: httptools would keep them all in memory.

    More is allowed as more body comes, since chunks have a line of their own each.
    """

    _other_bytes = 0
    _body_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Read what has come over the connection."""
        self._other_bytes += len(data)
        # What this data ends, or has of a body, is taken off while it is parsed.
        super().data_received(data)
        if self._other_bytes > _MOST_BYTES + self._body_bytes and not self.transport.is_closing():
            self.send_400_response("Request headers are too long.")

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._body_bytes += len(body)
        self._other_bytes -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request; another may follow."""
        self._other_bytes = self._body_bytes = 0
        super().on_message_complete()
