"""A request that has been read: what to run, and how its answer is written.

Every API goes the same way: a function reads the request into a `Call`, `run` runs it, and
`Call.answer` writes the answer. Requests of one kind that came together are one `Call`.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

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

_MOST_JOINED = 64 * 2**10
"""Bytes of a request's inputs: what is larger isn't copied to be joined with others."""

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
    answers: Callable[[Outputs, int], list[Answer]]
    """Write the answers of so many requests, of the outputs of all of them, one below the other;
    raises ServingError for outputs that the API can't return."""
    form: Hashable = None
    """Those of equal form have equal `answers` and can be `join`ed, if they are for one signature;
    None: with none. Of the others `answers` writes one."""
    count: int = 1
    """Requests that this is of: their rows are one below the other, as many of each."""
    one_by_one: bool = False
    """Whether `answers` handles each element by itself."""
    input_size: int = 0
    """Bytes of all inputs of one request, and"""
    reserved: int = 0
    """bytes held for the answers before there are any; both from `reserve` on."""

    def __post_init__(self) -> None:
        if self.signature.no_animations:
            animations.refuse(self.inputs)

    def having(self, **changes: Any) -> Call[Any]:
        """Return a copy with some fields changed, whose inputs were looked at already."""
        other = copy.copy(self)
        for name, value in changes.items():
            setattr(other, name, value)
        return other

    def answer(self, outputs: Outputs) -> Answer:
        """Write the answer of one request."""
        return self.answers(outputs, 1)[0]

    def reserve(self, hold: Hold) -> None:
        """Hold what outputs and answers will take, as far as that is known; before the run.

        Raises:
            ServingError: there is no memory for them.
        """
        self.input_size = sum(array.nbytes for array in self.inputs.values()) // self.count
        expected = self.count * self.signature.output_sizes.expected(self.input_size)
        hold.add(_COPIES * expected)
        self.reserved = _COPIES * expected

    def settle(self, hold: Hold, outputs: Outputs) -> None:
        """Hold what they really take; after the run, so after `reserve`."""
        size = output_bytes(outputs)
        self.signature.output_sizes.learn(self.input_size, size // self.count)
        hold.note(_COPIES * size - self.reserved)

    def kind(self) -> Hashable:
        """Return what is equal for requests that can run as one call; None: this runs alone.

        After `reserve`.
        """
        if self.form is None or self.signature.queue is None or self.input_size > _MOST_JOINED:
            return None
        shapes = []
        for alias, array in self.inputs.items():
            rows = len(array) // self.count if array.ndim else 0
            if not rows:
                return None
            shapes.append((alias, array.dtype, rows, array.shape[1:]))
        return self.signature, self.form, tuple(self.fetch), tuple(shapes)

    def join(self, others: Sequence[Call[Answer]]) -> None:
        """Become the call of all their requests, too; all of one `kind`, and `reserve`d."""
        calls = (self, *others)
        self.inputs = {
            alias: np.concatenate([call.inputs[alias] for call in calls]) for alias in self.inputs
        }
        self.count = sum(call.count for call in calls)
        self.reserved = sum(call.reserved for call in calls)

    def is_long(self, outputs: Outputs) -> bool:
        """Whether writing the answers would hold up an event loop."""
        if self.one_by_one:
            return sum(map(np.size, outputs.values())) > _LONG_ELEMENTS
        return output_bytes(outputs) > LARGE_BYTES


def part(arrays: Outputs, count: int, start: int, end: int) -> dict[str, np.ndarray]:
    """Return some of the requests whose inputs or outputs are one below the other.

    Args:
        arrays: theirs; each request has as many rows.
        count: of requests.
        start: the first one that is wanted.
        end: the one after the last.
    """
    found = {}
    for alias, array in arrays.items():
        rows = len(array) // count
        found[alias] = array[start * rows : end * rows]
    return found


def each(arrays: Outputs, count: int) -> list[Outputs]:
    """Return those of each request; see `part`."""
    return [arrays] if count == 1 else [part(arrays, count, at, at + 1) for at in range(count)]


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
