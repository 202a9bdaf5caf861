"""A request that has been read: what to run, and how its answer is written.

Every API goes the same way: a function reads the request into a `Call`, `run` runs it, and
`Call.answer` writes the answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from .. import metrics
from ..budget import LARGE_BYTES, Hold
from ..errors import Code, ServingError
from ..event_loop import EventLoop
from ..models import animations
from ..models.signature import Signature
from ..models.version import Version

Outputs = Mapping[str, np.ndarray]
"""Alias to value, of the outputs that were to be computed."""

Answer = TypeVar("Answer")

NO_DEADLINE = float("inf")
"""Of those by `time.monotonic`."""

_COPIES = 2
"""Of outputs: as arrays, and in the answer."""

_LONG_ELEMENTS = 1000
"""Labels, scores and numbers of an answer that Python writes one by one in about a millisecond."""


@dataclass(kw_only=True, slots=True)
class Call(Generic[Answer]):
    """What a request asks of a version.

    Raises:
        InvalidArgument: to run it could end the process.
    """

    api: str
    """As the metrics call it: `Predict`, `Classify`, `Regress`, `MultiInference`."""
    signature: Signature
    inputs: Mapping[str, np.ndarray]
    """Alias to value."""
    fetch: Sequence[str]
    """Aliases of the outputs to compute."""
    answer: Callable[[Outputs], Answer]
    """Write the answer; raises ServingError for outputs that the API can't return."""
    one_by_one: bool = False
    """Whether `answer` handles each element by itself."""
    input_size: int = 0
    """Bytes of all inputs, and"""
    reserved: int = 0
    """bytes held for the answer before there is one; both from `reserve` on."""

    def __post_init__(self) -> None:
        if self.signature.no_animations:
            animations.refuse(self.inputs)

    def reserve(self, hold: Hold) -> None:
        """Hold what outputs and answer will take, as far as that is known; before the run.

        Raises:
            ServingError: there is no memory for them.
        """
        self.input_size = sum(array.nbytes for array in self.inputs.values())
        expected = self.signature.output_sizes.expected(self.input_size)
        hold.add(_COPIES * expected)
        self.reserved = _COPIES * expected

    def settle(self, hold: Hold, outputs: Outputs) -> None:
        """Hold what they really take; after the run, so after `reserve`."""
        size = output_bytes(outputs)
        self.signature.output_sizes.learn(self.input_size, size)
        hold.note(_COPIES * size - self.reserved)

    def is_long(self, outputs: Outputs) -> bool:
        """Whether writing the answer would hold up an event loop."""
        if self.one_by_one:
            return sum(map(np.size, outputs.values())) > _LONG_ELEMENTS
        return output_bytes(outputs) > LARGE_BYTES


def output_bytes(outputs: Outputs) -> int:
    """Return the memory that outputs take; of strings only their places."""
    return sum(array.nbytes for array in outputs.values())


async def run(
    loop: EventLoop,
    version: Version,
    call: Call[Answer],
    hold: Hold,
    deadline: float = NO_DEADLINE,
) -> Outputs:
    """Run a call on an event loop: together with others in a batch, or alone in a thread.

    Args:
        loop: the one that this runs on.
        version: of the model; leased until this ends, which it does only after the model has run.
        call: what to run.
        hold: gets what outputs and answer take.
        deadline: for waiting and running, by `time.monotonic`.

    Raises:
        ServingError: the graph fails, the request can't be batched, or it has waited too long.
    """
    call.reserve(hold)
    queue = call.signature.queue
    if queue is None:
        outputs = await loop.in_thread(run_here, version, call, deadline)
        call.settle(hold, outputs)
        return outputs
    started = time.perf_counter()
    outputs = await queue.run(loop, call.inputs, call.fetch, deadline)
    metrics.count_run(version.model_name, call.api, time.perf_counter() - started)
    call.settle(hold, outputs)
    return outputs


def run_here(version: Version, call: Call[Answer], deadline: float = NO_DEADLINE) -> Outputs:
    """Run a call alone, in the calling thread.

    Args:
        version: of the model; leased.
        call: what to run.
        deadline: by `time.monotonic`; past it, the call isn't run.

    Raises:
        ServingError: the graph fails, or the deadline is over.
    """
    left = milliseconds_left(deadline)
    started = time.perf_counter()
    outputs = version.run(call.signature, call.inputs, call.fetch, left)
    metrics.count_run(version.model_name, call.api, time.perf_counter() - started)
    return outputs


def milliseconds_left(deadline: float) -> int:
    """Return the time left until a deadline, as TensorFlow takes it: 0 is no limit.

    Raises:
        ServingError: there is none left.
    """
    if deadline == NO_DEADLINE:
        return 0
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise too_late()
    return max(1, int(seconds * 1000))


def too_late() -> ServingError:
    """Return the error of a request that has waited until its deadline."""
    return ServingError(
        Code.DEADLINE_EXCEEDED,
        "The request has waited for its turn until its time was over, and was not run. Try again "
        "later, or with a longer limit.",
    )
