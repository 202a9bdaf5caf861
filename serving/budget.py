"""One budget of memory for all requests that wait or run, whichever port they came through.

A request holds of it what it takes or claims: its body as it comes in, its arrays, its pictures as
they will be once decoded, its answer. Requests above the budget are refused at once, while the
others still have the memory that they need; without it the whole container is killed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from . import machine
from .errors import Code, ServingError, TooLarge

LARGE_BYTES = 256 * 2**10
"""Requests, outputs and answers above this size would hold up an event loop, or all of Python."""

_LEAST_BYTES = 64 * 2**20
_SHARE = 0.5
"""Of the memory that is free: the other half is for what the graph makes of its inputs."""

_LITTLE = 0.05


def in_words(size: int) -> str:
    """Return a number of bytes for people: `41 bytes`, `312.5 MiB`."""
    return f"{size} bytes" if size < 2**20 else f"{size / 2**20:.1f} MiB"


class Budget:
    """Bytes that requests may hold, together.

    Args:
        most: of them; 0: what the container's memory allows, see `fit`.
    """

    def __init__(self, most: int = 0) -> None:
        self._fixed = most
        self._taken = 0
        self._lock = threading.Lock()
        self.most = most
        self.fit()

    def fit(self) -> None:
        """Leave room for the models that are loaded now, unless the size was given.

        While requests hold much, it stays: what they take can't be told from what models take.
        """
        if not self._fixed and self._taken <= self.most * _LITTLE:
            free = machine.memory_limit() - machine.memory_used()
            self.most = max(_LEAST_BYTES, int(free * _SHARE))

    @property
    def taken(self) -> int:
        """Return the bytes that requests hold now."""
        return self._taken

    def hold(self) -> Hold:
        """Return what one request holds: nothing yet."""
        return Hold(self)

    def take(self, size: int, held: int) -> None:
        """Take bytes for a request that holds some already.

        Raises:
            ServingError: there are not so many left.
        """
        with self._lock:
            if held + size > self.most:
                raise TooLarge(
                    f"This request needs {in_words(held + size)} of memory, and the server has "
                    f"{in_words(self.most)} for all requests together (--max_waiting_bytes). "
                    "Send less at once, or give the server more memory."
                )
            if self._taken + size > self.most:
                raise ServingError(
                    Code.RESOURCE_EXHAUSTED,
                    f"This request needs {in_words(held + size)} of memory, and others hold "
                    f"{in_words(self._taken - held)} of the {in_words(self.most)} that the server "
                    "has for requests (--max_waiting_bytes). Try again later.",
                )
            self._taken += size

    def note(self, size: int) -> None:
        """Count bytes that are there already, or, below 0, no longer."""
        with self._lock:
            self._taken += size


class Hold:
    """What one request holds of a budget; `with` it, all is given back at the end.

    For one thread at a time.
    """

    __slots__ = ("_budget", "_size")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._size = 0

    def add(self, size: int) -> None:
        """Hold more bytes.

        Raises:
            ServingError: RESOURCE_EXHAUSTED, others hold too many; TooLarge, it can never fit.
        """
        self._budget.take(size, self._size)
        self._size += size

    def note(self, size: int) -> None:
        """Hold bytes that are there already: they are not refused, but others will be."""
        self._budget.note(size)
        self._size += size

    def join(self, others: Iterable[Hold]) -> None:
        """Hold what others held: they hold nothing any more."""
        for other in others:
            self._size += other._size
            other._size = 0

    def share(self, parts: int, of: int) -> Hold:
        """Return another that holds so many of equal parts of what this one held."""
        other = Hold(self._budget)
        other._size = self._size * parts // of
        self._size -= other._size
        return other

    def moved(self) -> Hold:
        """Return another that holds all that this one held: for what outlives a `with`."""
        other = Hold(self._budget)
        other._size, self._size = self._size, 0
        return other

    def close(self) -> None:
        """Give all back; again is no harm."""
        size, self._size = self._size, 0
        if size:
            self._budget.note(-size)

    def __enter__(self) -> Hold:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
