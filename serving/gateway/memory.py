"""How many bytes the bodies of requests may take at a time, so that nobody kills the process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from starlette.exceptions import HTTPException
from starlette.requests import Request

from ..machine import memory_limit

_SHARE = 4
"""A form's files are in memory twice for a moment: as they came, and as base64 (4/3 of it)."""


def default_budget() -> int:
    """Return a quarter of what the container may use, or of the machine's memory, in bytes."""
    return memory_limit() // _SHARE


class Bodies:
    """Reads bodies of requests, all together at most `most_waiting` bytes. On one event loop.

    Args:
        most: bytes of one body.
        most_waiting: bytes of all that have come and are not answered yet.
    """

    def __init__(self, most: int, most_waiting: int) -> None:
        self.most = min(most, most_waiting)
        self.most_waiting = most_waiting
        self.waiting = 0
        """Bytes that have come and are not answered yet."""

    @contextmanager
    def counted(self, request: Request) -> Iterator[Body]:
        """Give the body of a request; its bytes count until the context ends.

        Raises:
            HTTPException: 413 for a body that is too large by its own account.
        """
        if int(request.headers.get("content-length", "0") or 0) > self.most:
            raise self._too_large()
        body = Body(self, request)
        try:
            yield body
        finally:
            self.waiting -= body.size

    def add(self, size: int, whole: int) -> None:
        """Count `size` bytes more of a body that now has `whole` bytes.

        Raises:
            HTTPException: 413, 429: more than there is room for, by itself or beside others.
        """
        if whole > self.most:
            raise self._too_large()
        if self.waiting + size > self.most_waiting:
            raise HTTPException(
                429,
                f"Requests of {self.most_waiting >> 20} MiB wait for their answers, and there is "
                "no room for more (--max_waiting_bytes). Try again later.",
                {"Retry-After": "1"},
            )
        self.waiting += size

    def _too_large(self) -> HTTPException:
        return HTTPException(
            413,
            f"The request is larger than {self.most / 2**20:.3g} MiB. Send less in one request.",
        )


class Body:
    """The body of one request, read once. `size` is what has come of it, in bytes."""

    def __init__(self, bodies: Bodies, request: Request) -> None:
        self._bodies = bodies
        self._request = request
        self.size = 0

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the parts as they come."""
        async for chunk in self._request.stream():
            self._bodies.add(len(chunk), self.size + len(chunk))
            self.size += len(chunk)
            yield chunk
