"""The threads that answer the requests of a port, and a bound for those that wait for one.

TensorFlow Serving lets requests pile up; here the one too many is told at once to come back later,
while its client still waits and before the memory is full.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from ..errors import Code, ServingError
from ..event_loop import EventLoop, to_the_end

P = ParamSpec("P")
T = TypeVar("T")


class RequestThreads:
    """Threads of one event loop, and places for the requests that run in them or wait.

    `with` it, a request holds a place.

    Args:
        loop: what the requests came in on.
        threads: how many run side by side.
        most_waiting: how many more may wait.
        name: of the threads.
    """

    def __init__(self, loop: EventLoop, threads: int, most_waiting: int, name: str) -> None:
        self.loop = loop
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._most = threads + most_waiting
        self._taken = 0

    def __enter__(self) -> None:
        """Take a place for a request, also for one that needs no thread.

        Raises:
            ServingError: there is none left.
        """
        if self._taken >= self._most:
            raise ServingError(
                Code.UNAVAILABLE,
                f"{self._most} requests run or wait already, and --max_waiting_requests allows no "
                "more. Try again later.",
            )
        self._taken += 1

    def __exit__(self, *_: object) -> None:
        self._taken -= 1

    async def run(self, answer: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `answer` does, called in a thread once one is free.

        Cancelled, it is not called any more; if it runs already, that is waited for.
        """
        ended = asyncio.Event()
        future = self._executor.submit(answer, *args, **kwargs)
        future.add_done_callback(lambda _: self.loop.call_soon(ended.set))
        try:
            await ended.wait()
        except asyncio.CancelledError:
            if not future.cancel():
                await to_the_end(ended)
            raise
        return future.result()
