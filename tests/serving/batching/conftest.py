"""How the tests of the batch queue ask it, and a model for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from serving.batching.queue import NO_DEADLINE, BatchQueue
from serving.event_loop import EventLoop
from tests.serving.batching.doubler import Ask, Doubler


@pytest.fixture
def model() -> Iterator[Doubler]:
    model = Doubler()
    yield model
    model.go_on()


@pytest.fixture
def ask(loop: EventLoop) -> Ask:
    """Bring a request to a queue, as a port does."""

    def ask(
        queue: BatchQueue,
        inputs: Mapping[str, np.ndarray],
        fetch: Sequence[str] = ("y",),
        milliseconds: int = 0,
    ) -> Future[dict[str, np.ndarray]]:
        deadline = queue._clock() + milliseconds / 1000 if milliseconds else NO_DEADLINE
        return loop.start(queue.run(loop, inputs, fetch, deadline))

    return ask


def parameters_file(folder: Path, text: str) -> Path:
    """Write BatchingParameters in text form."""
    path = folder / "batching.pbtxt"
    path.write_text(text)
    return path
