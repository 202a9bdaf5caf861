"""How HTTP connections that are kept end: with an answer that says so.

A connection that is closed while it lies idle may meet a request on its way, which then fails. So
the last answer over it bears `Connection: close`, and its client connects anew, to another server.
"""

from __future__ import annotations

import asyncio
import math
import random
import socket
import time
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_AGE_SECONDS = 600
"""Of a connection, within a tenth: clients look anew where to connect, to servers that are new."""

_IDLE_SHARE = 8
_MOST_IDLE_SECONDS = 5.0

_LOOK_SECONDS = 0.05


class Ending:
    """Whether a server is about to end, as its connections see it."""

    has_begun = False


def telling(
    protocol: type[asyncio.Protocol], ending: Ending, most_age_seconds: float = MOST_AGE_SECONDS
) -> type[asyncio.Protocol]:
    """Return one of uvicorn's protocols whose clients are told which answer is the last.

    Args:
        protocol: for each connection.
        ending: of the server.
        most_age_seconds: of a connection; 0: any.
    """
    most_age = most_age_seconds or math.inf

    class Telling(protocol):  # type: ignore[valid-type, misc]
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            until = time.monotonic() + most_age * random.uniform(0.9, 1.1)
            self.app: ASGIApp = _told(
                self.app, lambda: ending.has_begun or time.monotonic() > until
            )

    return Telling


def _told(app: ASGIApp, is_last: Callable[[], bool]) -> ASGIApp:
    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start" and is_last():
                headers = [*message.get("headers", ()), (b"connection", b"close")]
                message = {**message, "headers": headers}
            await send(message)

        await app(scope, receive, tell)

    return told


class PatientServer(uvicorn.Server):
    """Ends when each kept connection has had its last answer, and each request its own.

    Args:
        config: its protocol is made by `telling`, with `ending`.
        ending: of this server.
        drain_seconds: for all of it. At most an eighth, and 5 s, is for idle connections.
    """

    def __init__(self, config: uvicorn.Config, ending: Ending, drain_seconds: float) -> None:
        super().__init__(config)
        self._ending = ending
        self.drain_seconds = drain_seconds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take requests until no connection is left, then close those that lie idle."""
        self._ending.has_begun = True
        end = time.monotonic() + self.drain_seconds
        idle = min(_MOST_IDLE_SECONDS, self.drain_seconds / _IDLE_SHARE)
        idle_end = time.monotonic() + idle
        while self.server_state.connections and time.monotonic() < idle_end and not self.force_exit:
            await asyncio.sleep(_LOOK_SECONDS)
        self.config.timeout_graceful_shutdown = max(1, round(end - time.monotonic()))
        await super().shutdown(sockets)
