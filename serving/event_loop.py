"""An event loop with a thread of its own, for a port and for the batches of its requests."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")


class EventLoop:
    """Runs until the process ends.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._loop = uvloop.new_event_loop()
        self._calls: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._woken = False
        threading.Thread(target=self._loop.run_forever, name=name, daemon=True).start()

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop; from any thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop, and wait for it; from any other thread."""
        return self.start(work).result()

    def call_later(self, seconds: float, function: Callable[..., object], *args: object) -> None:
        """Call a function after `seconds`; 0: after everything already queued.

        Only from the loop's own thread.
        """
        self._loop.call_later(seconds, function, *args)

    def call_soon(self, function: Callable[..., object], *args: object) -> None:
        """Call a function on the loop; from any thread.

        As `call_soon_threadsafe`, but for many calls in a row the loop is woken only once: waking
        it costs most.
        """
        self._calls.append((function, args))
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._make_calls)

    def _make_calls(self) -> None:
        # First: a call that is added from here on wakes the loop again.
        self._woken = False
        while self._calls:
            function, args = self._calls.popleft()
            function(*args)


async def to_the_end(event: asyncio.Event) -> None:
    """Wait for an event; when cancelled meanwhile, raise that once it has happened.

    What the work behind it needs can so be held, and given back, by the one who waits.
    """
    cancelled = None
    while not event.is_set():
        try:
            await event.wait()
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
