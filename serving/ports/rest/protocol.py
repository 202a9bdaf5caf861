"""HTTP/1.1 by httptools, which takes a tenth of h11's time, with bounds for what comes in."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..connections import BODY_SECONDS, HEADER_SECONDS, most_connections

_MOST_BYTES = 64 * 2**10
"""Of headers, trailers and the like. Node.js, whose parser it is, takes 16 KiB, h11 64 KiB."""

GONE = "dlstack.gone"
"""In a request's scope: what to call when its connection is lost, if the application wants it."""

_TOO_LONG = b"Request headers are too long."


class _TooLongError(Exception):
    """A request's headers are longer than they may be."""


class BoundedHttpToolsProtocol(HttpToolsProtocol):
    """Answers 431 to headers that don't end, which httptools would keep in memory, or are too long.

    More is allowed as more body comes, since chunks have a line of their own each. Connections
    above a number are closed at once, and those whose request comes too slowly.
    """

    most_connections = most_connections()
    header_seconds: float = HEADER_SECONDS
    body_seconds: float = BODY_SECONDS

    _late: asyncio.TimerHandle | None = None
    """Closes the connection unless the rest of a request comes in time."""
    _in_body = False

    _other_bytes = 0
    """Of the request, without its body."""
    _body_bytes = 0
    _head_bytes = 0
    """Of its address and headers, without what separates them."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, if there is room for one more."""
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            transport.abort()
        else:
            self._expect_more(self.header_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the application that waits for its model."""
        self._expect_more(None)
        super().connection_lost(exc)
        if self.cycle is not None and not self.cycle.response_complete:
            scope: dict[str, Any] = self.cycle.scope  # type: ignore[assignment]
            gone = scope.get(GONE)
            if gone is not None:
                gone()

    def data_received(self, data: bytes) -> None:
        """Read what has come over the connection."""
        self._other_bytes += len(data)
        # What this data ends, or has of a body, is taken off while it is parsed.
        super().data_received(data)
        if self._in_body:
            self._expect_more(self.body_seconds)
        if self._other_bytes > _MOST_BYTES + self._body_bytes:
            self._refuse()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, or was given up by one of the methods below."""
        if self._head_bytes > _MOST_BYTES:
            self._refuse()
        else:
            super().send_400_response(msg)

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._expect_more(self.header_seconds)
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a part of the address."""
        self._head_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer."""
        self._head_bytes += len(name) + len(value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer."""
        if self._head_bytes > _MOST_BYTES:
            # They came in one piece with their end. httptools stops, and uvicorn answers.
            raise _TooLongError
        self._in_body = True
        super().on_headers_complete()
        path, mark, fragment = self.url.partition(b"#")
        if mark:
            # No address has one here, and none is to be answered as if it had none.
            part = "query_string" if b"?" in path else "raw_path"
            self.scope[part] += mark + fragment  # type: ignore[literal-required]

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._body_bytes += len(body)
        self._other_bytes -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request; another may follow."""
        self._other_bytes = self._body_bytes = self._head_bytes = 0
        self._in_body = False
        self._expect_more(None)
        super().on_message_complete()

    def _expect_more(self, seconds: float | None) -> None:
        """Close the connection unless more comes in time; None: nothing is expected."""
        if self._late is not None:
            self._late.cancel()
        self._late = None if seconds is None else self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        self.transport.close()

    def _refuse(self) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(
            b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
            b"content-type: text/plain; charset=utf-8\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(_TOO_LONG), _TOO_LONG)
        )
        self.transport.close()
