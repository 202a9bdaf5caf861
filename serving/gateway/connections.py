"""Connections of the gateway's clients: how many there may be, and how long one may say nothing."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 1000

_FULL = b'{"error": "Too many connections. Try again later."}'


def bounded(
    header_seconds: float, most_connections: int = MOST_CONNECTIONS
) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol, which otherwise waits for headers without end, with bounds.

    h11 bounds the headers' size; httptools, which uvicorn prefers, does not.

    Args:
        header_seconds: from a connection, or the first byte of a further request, to its headers'
            end; then it is closed. Between requests uvicorn's own time counts.
        most_connections: one more is answered 503.
    """

    class BoundedProtocol(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > most_connections:
                transport.write(
                    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n"
                    b"content-length: %d\r\nretry-after: 1\r\nconnection: close\r\n\r\n%b"
                    % (len(_FULL), _FULL)
                )
                transport.close()
            else:
                self._wait()

        def data_received(self, data: bytes) -> None:
            if self._timer is None and self._idle:
                self._wait()
            super().data_received(data)
            if not self._idle:
                self._cancel()

        def connection_lost(self, exc: Exception | None) -> None:
            self._cancel()
            super().connection_lost(exc)

        @property
        def _idle(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _wait(self) -> None:
            self._timer = self.loop.call_later(header_seconds, self._give_up)

        def _cancel(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _give_up(self) -> None:
            self._timer = None
            if self._idle:
                self.transport.close()

    return BoundedProtocol
