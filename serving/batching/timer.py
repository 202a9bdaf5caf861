"""Calls functions after a while, all from one thread."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable


class Timer:
    """Starts its thread with the first call that is asked for."""

    def __init__(self) -> None:
        self._calls: list[tuple[float, int, Callable[..., object], tuple[object, ...]]] = []
        self._count = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def call_later(self, seconds: float, function: Callable[..., object], *args: object) -> None:
        """Call a function that neither waits nor raises, after `seconds`; from any thread."""
        call = (time.monotonic() + seconds, next(self._count), function, args)
        with self._changed:
            heapq.heappush(self._calls, call)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="timer", daemon=True)
                self._thread.start()
            elif self._calls[0] is call:
                self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._calls or self._calls[0][0] > time.monotonic():
                    self._changed.wait(
                        self._calls[0][0] - time.monotonic() if self._calls else None
                    )
                _, _, function, args = heapq.heappop(self._calls)
            function(*args)
