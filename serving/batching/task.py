"""A request that waits to run with others, the batch that it is in, and the line of batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import ServingError

HandOn = Callable[..., object]
"""Calls a function in another thread: `hand_on(function, *arguments)`."""


@dataclass(eq=False, slots=True)
class Task:
    """A request in a batch, or a part of one; or several requests that go together."""

    inputs: Mapping[str, np.ndarray]
    rows: int
    fetch: Sequence[str]
    deadline: float
    """By the scheduler's clock; infinite without a limit."""
    queued: float
    """By the same clock, when it came."""
    done: Callable[[Task], object]
    """Called once, when `outputs` or `error` is set."""
    count: int = 1
    """Requests that it is, each of as many rows."""
    batch: Batch | None = None
    """Where it waits or runs."""
    part: Task | None = None
    """Of a request too large for one batch: the part that waits or runs."""
    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    error: ServingError | None = None

    def result(self) -> dict[str, np.ndarray]:
        """Return the outputs that the request wants.

        Raises:
            ServingError: it failed.
        """
        if self.error is not None:
            # Not the object itself: every thread that raises it would add to its traceback.
            raise ServingError(self.error.code, self.error.message)
        return self.outputs


@dataclass(eq=False, slots=True)
class Batch:
    """Requests that will run as one."""

    line: Line
    hand_on: HandOn | None
    """Of its first request; see `BatchQueue.submit`."""
    tasks: list[Task] = field(default_factory=list)
    rows: int = 0
    offered: bool = False
    """Whether it is ready to run."""
    running: bool = False


@dataclass(eq=False)
class Line:
    """The batches of one queue; all of it under the scheduler's lock."""

    run: Callable[[Sequence[Task]], int]
    """Sets outputs or error of each request in a batch; returns the rows run, 0 if that failed."""
    waiting: deque[Batch] = field(default_factory=deque)
    """Batches that do not run yet, all but the last one closed."""
    offered: deque[Batch] = field(default_factory=deque)
    """Those of them that are ready to run."""
    running: int = 0
    quick_rows: int = -1
    """The most rows known to run quickly; -1: none."""
    quick_until: float = 0
    """Until then, by the scheduler's clock, a batch runs that is expected to end quickly."""
