"""Threads for what would hold up the reading of requests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Workers:
    """Do one thing after the other, some at a time; each thread starts when it is needed.

    Args:
        name: of the threads.
        most: threads.
        afterwards: called in the thread after each thing.
    """

    def __init__(self, name: str, most: int, afterwards: Callable[[], None]) -> None:
        self._name = name
        self._most = most
        self._afterwards = afterwards
        self._work: SimpleQueue[tuple[Callable[..., object], tuple[object, ...]]] = SimpleQueue()
        self._lock = threading.Lock()
        self._free = 0
        """Threads that wait, less things that wait for them."""
        self._threads = 0

    def submit(self, function: Callable[..., object], *args: object) -> None:
        """Call a function, which must not raise, once a thread is free."""
        with self._lock:
            self._free -= 1
            more = self._free < 0 and self._threads < self._most
            if more:
                self._threads += 1
                self._free += 1
        self._work.put((function, args))
        if more:
            name = f"{self._name} {self._threads}"
            threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        while True:
            function, args = self._work.get()
            function(*args)
            del function, args  # A request's memory must not stay until the next one.
            self._afterwards()
            with self._lock:
                self._free += 1
