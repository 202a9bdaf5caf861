"""A function in the place of a model, for the tests of the batch queue, and its requests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from serving.batching.merge import Parts
from serving.batching.queue import BatchQueue
from serving.errors import InvalidArgument, ServingError

LONG_MICROS = 60_000_000
"""Longer than any of these tests: what ends before that did not wait for its end."""


class Doubler:
    """Doubles x, remembers the rows of each run, stops while held; has a clock of its own."""

    def __init__(self) -> None:
        self.runs: list[list[Any]] = []
        self.limits: list[int] = []
        self.started = threading.Semaphore(0)
        self.now = 0.0
        """What its clock shows, in seconds."""
        self.seconds = 0.0
        """How long a run takes by that clock."""
        self.error: ServingError | None = None
        """What runs of more than one row end with."""
        self._go_on = threading.Event()
        self._go_on.set()

    def __call__(
        self, inputs: Parts, fetch: Sequence[str], milliseconds: int
    ) -> Mapping[str, np.ndarray]:
        x = np.concatenate(inputs["x"])
        self.runs.append(x.ravel().tolist())
        self.limits.append(milliseconds)
        self.now += self.seconds
        self.started.release()
        assert self._go_on.wait(60)
        if self.error is not None and len(x) > 1:
            raise self.error
        if (x < 0).any():
            raise InvalidArgument("negative")
        outputs = {"y": 2 * x, "z": 3 * x, "scalar": np.float32(1), "short": x[1:]}
        return {name: np.asarray(outputs[name]) for name in fetch}

    def hold(self) -> None:
        self._go_on.clear()

    def go_on(self) -> None:
        self._go_on.set()


def rows(*values: float) -> dict[str, np.ndarray]:
    return {"x": np.array(values, np.float32).reshape(-1, 1)}


Ask = Callable[..., Future[dict[str, np.ndarray]]]
"""The fixture `ask`."""


@contextmanager
def busy(model: Doubler, queue: BatchQueue, ask: Ask) -> Iterator[Future[dict[str, np.ndarray]]]:
    """Keep the only thread busy with a request of one row, 100."""
    model.hold()
    first = ask(queue, rows(100))
    try:
        assert model.started.acquire(timeout=30)
        yield first
    finally:
        model.go_on()


def refused(asked: Future[Any]) -> tuple[str, str]:
    """Return code and text of the error that a request ended with."""
    with pytest.raises(ServingError) as caught:
        asked.result(30)
    return caught.value.code.name, caught.value.message
