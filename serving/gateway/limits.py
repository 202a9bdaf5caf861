"""What the gateway allows at once, and how long it waits for a request's body."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio.to_thread
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_PREDICTIONS = 64
"""Predictions at a time. Each holds a thread and its pictures in memory until it is answered."""

BODY_SECONDS = 30.0
"""Until the body of a request is there; one second more for each `_LEAST_RATE` bytes of it."""

_LEAST_RATE = 32 * 1024
"""Bytes a second: a phone's photo of 12 MB comes over a slow line, a client that stalls ends."""

THREADS_BESIDE = 8
"""Threads for everything but predictions, so that the page's status stays fresh under load."""


class Predictions:
    """The predictions under way, at most `most`. Used on one event loop only.

    Raises:
        HTTPException: 429, from `refuse_if_full` and `one_more`, when there are as many.
    """

    def __init__(self, most: int = MOST_PREDICTIONS) -> None:
        self.most = most
        self.under_way = 0
        """How many there are now."""

    def refuse_if_full(self) -> None:
        """Say so before the request's body is read, too: it would be for nothing."""
        if self.under_way >= self.most:
            raise HTTPException(
                429,
                f"{self.most} predictions are under way, and no more may be (--max_predictions). "
                "Try again later.",
                {"Retry-After": "1"},
            )

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Count one while the context lasts; entered with the body read, so that no slow client
        takes another's place.
        """
        self.refuse_if_full()
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1

    @asynccontextmanager
    async def threads(self, _: object) -> AsyncIterator[None]:
        """Starlette's lifespan: a thread for each prediction; there are 40 in all otherwise."""
        limiter = anyio.to_thread.current_default_thread_limiter()
        limiter.total_tokens = self.most + THREADS_BESIDE
        yield


class TimedBodies:
    """ASGI middleware: the body of a request keeps coming, or the answer is 408.

    Args:
        seconds: for a small body; a large one has more, see `_LEAST_RATE`.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = asyncio.get_running_loop().time()
        deadline = started + self._seconds
        whole = False

        async def timed() -> Message:
            nonlocal whole, deadline
            if whole:  # What comes now is the client's going.
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                allowed = round(deadline - started, 1)
                raise HTTPException(
                    408,
                    f"The request's body was not there after {allowed:g} s. Send it faster.",
                    {"Connection": "close"},
                ) from None
            deadline += len(message.get("body", b"")) / _LEAST_RATE
            whole = not message.get("more_body")
            return message

        await self._app(scope, timed, send)
