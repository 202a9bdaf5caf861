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
from ..event_loop import EventLoop
from ..models.signature import Signature
from ..models.version import Version

Outputs = Mapping[str, np.ndarray]
"""Alias to value, of the outputs that were to be computed."""

Answer = TypeVar("Answer")

_LONG_ELEMENTS = 1000
"""Labels, scores and numbers of an answer that Python writes one by one in about a millisecond."""


@dataclass(kw_only=True, slots=True)
class Call(Generic[Answer]):
    """What a request asks of a version."""

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

    def is_long(self, outputs: Outputs) -> bool:
        """Whether writing the answer would hold up an event loop."""
        return self.one_by_one and sum(map(np.size, outputs.values())) > _LONG_ELEMENTS


async def run(
    loop: EventLoop, version: Version, call: Call[Answer], milliseconds_left: Callable[[], int]
) -> Outputs:
    """Run a call on an event loop: together with others in a batch, or alone in a thread.

    Args:
        loop: the one that this runs on.
        version: of the model; leased until this ends, which it does only after the model has run.
        call: what to run.
        milliseconds_left: for waiting in a batch and running, asked when that begins; 0: no limit.

    Raises:
        ServingError: the graph fails, or the request can't be batched.
    """
    signature = call.signature
    started = time.perf_counter()
    if signature.queue is not None:
        outputs = await signature.queue.run(loop, call.inputs, call.fetch, milliseconds_left())
    else:
        outputs = await loop.in_thread(
            lambda: version.run(signature, call.inputs, call.fetch, milliseconds_left())
        )
    metrics.count_run(version.model_name, call.api, time.perf_counter() - started)
    return outputs
