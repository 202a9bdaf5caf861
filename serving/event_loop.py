"""An event loop with a thread of its own, and threads for the work that would hold it up."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import uvloop

P = ParamSpec("P")
T = TypeVar("T")


class EventLoop:
    """Runs until the process ends, or until `close`.

    Args:
        name: of its thread and of those for blocking work.
        threads: how many of the latter run side by side, at most; each starts when it is needed.
    """

    def __init__(self, name: str, threads: int = 1) -> None:
        self._loop = uvloop.new_event_loop()
        self._calls: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._woken = False
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def __enter__(self) -> EventLoop:
        """Close it at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop; nothing may run on the loop or in its threads any more."""
        self._executor.shutdown()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

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

        As `call_soon_threadsafe`, but many calls in a row wake the loop only once: waking it is the
        expensive part.
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

    async def in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of a function that is called in a thread once one is free.

        Cancelled before, the function is never called. Cancelled while it runs, this ends when the
        function has ended.
        """
        ended = asyncio.Event()
        future = self._executor.submit(function, *args, **kwargs)
        future.add_done_callback(lambda _: self.call_soon(ended.set))
        try:
            await ended.wait()
        except asyncio.CancelledError:
            if not future.cancel():
                await to_the_end(ended)
            raise
        return future.result()

    async def call(
        self, long: bool, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return the result of a function: of a long one from a thread, of a short one at once."""
        if long:
            return await self.in_thread(function, *args, **kwargs)
        return function(*args, **kwargs)


async def to_the_end(event: asyncio.Event) -> None:
    """Wait for an event, also when cancelled: the cancellation is raised after the event.

    Whoever waits can so hold what the work behind the event needs until the work is done.
    """
    cancelled = None
    while not event.is_set():
        try:
            await event.wait()
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
