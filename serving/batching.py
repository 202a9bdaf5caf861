"""Requests that wait at the same time run as one: TensorFlow Serving's server-side batching.

Follows `batching/batching_session.cc` (what is merged and split, and the texts of what can't be)
and TensorFlow's `shared_batch_scheduler.h` (when a batch runs, who is refused). There are no
threads of its own: the thread that brings the first request of a batch runs the batch, once
`BatchScheduler` lets it, and hands the others their share. A lone request so runs where it came
in, without a hand-over.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from . import metrics
from .batching_parameters import BatchingParameters
from .errors import Code, FailedPrecondition, InvalidArgument, ServingError, as_serving_error

Parts = dict[str, list[np.ndarray]]
"""Input to the arrays which, one below the other, are its value."""

Run = Callable[[Parts, Sequence[str], int], Mapping[str, np.ndarray]]
"""Runs the model: inputs, outputs wanted, time limit in ms (0: none)."""


class _Gate:
    """Lets one thread wait until another opens it; cheaper than `threading.Event`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def open(self) -> None:
        self._lock.release()

    def wait(self, seconds: float = -1) -> bool:
        return self._lock.acquire(timeout=seconds)


@dataclass(eq=False)
class _Task:
    """A request in a batch."""

    inputs: Mapping[str, np.ndarray]
    rows: int
    fetch: Sequence[str]
    deadline: float
    """`time.monotonic`, infinite without a limit."""
    queued: float = field(default_factory=time.monotonic)
    done: _Gate | None = None
    """None: the one whose thread runs the batch."""
    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    error: ServingError | None = None


@dataclass(eq=False)
class _Batch:
    """Requests that will run as one."""

    tasks: list[_Task]
    rows: int
    may_run: _Gate = field(default_factory=_Gate)
    offered: bool = False
    """Whether it waits for nothing but a free thread."""


class BatchScheduler:
    """Says which batches run: at most `threads` at a time, queues with batches taking turns."""

    def __init__(self, threads: int) -> None:
        self._free = threads
        self._lock = threading.Lock()
        self._turns: deque[BatchQueue] = deque()

    def queue(self, run: Run, parameters: BatchingParameters) -> BatchQueue:
        """Return a queue for the requests that `run` can answer together."""
        return BatchQueue(self, run, parameters)

    def offer(self, queue: BatchQueue, batch: _Batch) -> None:
        """Let a batch of a queue run when its turn comes. The caller holds the lock."""
        if not batch.offered:
            batch.offered = True
            queue.offered.append(batch)
            if len(queue.offered) == 1:
                self._turns.append(queue)
            self._start_next()

    def finished(self) -> None:
        """Give the thread of a batch that has run to the next one."""
        with self._lock:
            self._free += 1
            self._start_next()

    def _start_next(self) -> None:
        while self._free and self._turns:
            queue = self._turns.popleft()
            batch = queue.offered.popleft()
            queue.waiting.remove(batch)
            if queue.offered:
                self._turns.append(queue)
            self._free -= 1
            batch.may_run.open()


class BatchQueue:
    """The requests for one signature of one version of a model."""

    def __init__(self, scheduler: BatchScheduler, run: Run, parameters: BatchingParameters) -> None:
        self._scheduler = scheduler
        self._lock = scheduler._lock
        self._run = run
        self._parameters = parameters
        self.waiting: deque[_Batch] = deque()
        """Batches that do not run yet, all but the last one closed; under the scheduler's lock."""
        self.offered: deque[_Batch] = deque()
        """Those of them that wait for a free thread."""

    def run(
        self, inputs: Mapping[str, np.ndarray], fetch: Sequence[str], timeout_ms: int = 0
    ) -> dict[str, np.ndarray]:
        """Run one request together with others; block until it is answered.

        Args:
            inputs: arrays with the same number of rows (axis 0).
            fetch: the outputs wanted.
            timeout_ms: for waiting and running together; 0: no limit.

        Raises:
            ServingError: the request can't be batched, the queue is full, or the batch failed.
        """
        rows = _rows(inputs)
        limit = self._parameters
        if rows > limit.max_batch_size:
            raise InvalidArgument(
                f"Task size {rows} is larger than maximum input batch size {limit.max_batch_size}"
            )
        deadline = time.monotonic() + timeout_ms / 1000 if timeout_ms > 0 else float("inf")
        if rows <= limit.rows:
            return self._run_task(_Task(inputs, rows, fetch, deadline))
        pieces = [
            self._run_task(
                _Task(
                    {name: array[start : start + limit.rows] for name, array in inputs.items()},
                    min(limit.rows, rows - start),
                    fetch,
                    deadline,
                )
            )
            for start in range(0, rows, limit.rows)
        ]
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in fetch}

    def _run_task(self, task: _Task) -> dict[str, np.ndarray]:
        mine = self._enqueue(task)
        if mine is None:
            assert task.done is not None
            task.done.wait()
        else:
            self._await_turn(mine)
            self._run_batch(mine)
        if task.error is not None:
            # Not the object itself: every thread that raises it would add to its traceback.
            raise ServingError(task.error.code, task.error.message)
        return task.outputs

    def _enqueue(self, task: _Task) -> _Batch | None:
        """Put a request into a batch; return that if the caller has to run it."""
        limit = self._parameters
        with self._lock:
            last = self.waiting[-1] if self.waiting else None
            if last is not None and last.rows + task.rows <= limit.rows:
                task.done = _Gate()
                last.tasks.append(task)
                last.rows += task.rows
                if last.rows == limit.rows:
                    self._scheduler.offer(self, last)
                return None
            if len(self.waiting) >= limit.max_enqueued_batches:
                raise ServingError(
                    Code.UNAVAILABLE,
                    "The batch scheduling queue to which this task was submitted is full; "
                    f"currently {len(self.waiting)} batches enqueued and max_enqueued_batches is "
                    f"{limit.max_enqueued_batches}",
                )
            if last is not None:
                self._scheduler.offer(self, last)  # It will get no fuller.
            batch = _Batch([task], task.rows)
            self.waiting.append(batch)
            if not limit.batch_timeout_micros or batch.rows == limit.rows:
                self._scheduler.offer(self, batch)
            return batch

    def _await_turn(self, batch: _Batch) -> None:
        seconds = self._parameters.batch_timeout_micros / 1e6
        if batch.offered or not batch.may_run.wait(seconds):
            with self._lock:
                self._scheduler.offer(self, batch)
            batch.may_run.wait()

    def _run_batch(self, batch: _Batch) -> None:
        try:
            self._answer(batch)
        except BaseException as error:
            # One bad request fails all of its batch, as in TensorFlow Serving.
            known = as_serving_error(error)
            for task in batch.tasks:
                task.error = known
        finally:
            # First the next batch, so that it runs while these answers are written.
            self._scheduler.finished()
            for task in batch.tasks:
                if task.done is not None:
                    task.done.open()

    def _answer(self, batch: _Batch) -> None:
        tasks = batch.tasks
        now = time.monotonic()
        deadline = max(task.deadline for task in tasks)
        if deadline <= now:
            raise ServingError(
                Code.RESOURCE_EXHAUSTED, "Run() timeout exceeded while waiting in batching queue"
            )
        milliseconds = 0 if deadline == float("inf") else max(1, int((deadline - now) * 1000))
        rows = self._parameters.padded(batch.rows) if batch.rows else 0
        for task in tasks:
            microseconds = (now - task.queued) * 1e6
            metrics.QUEUING_LATENCY.add(microseconds, self._parameters.thread_pool_name)
            metrics.INPUT_BATCH_SIZE.add(task.rows)
        metrics.PADDING_SIZE.add(rows - batch.rows)
        metrics.PROCESSED_BATCH_SIZE.add(rows)
        metrics.WRAPPED_RUN_COUNT.add()
        inputs = _merge(
            [task.inputs for task in tasks],
            rows - batch.rows,
            pad=self._parameters.pad_variable_length_inputs,
        )
        # All that any of them wants; most often they want the same.
        fetch = list(dict.fromkeys(name for task in tasks for name in task.fetch))
        outputs = self._run(inputs, fetch, milliseconds)
        for array in outputs.values():
            if not array.ndim:
                raise FailedPrecondition("Batched output tensor has 0 dimensions")
            if len(array) != rows:
                raise FailedPrecondition(
                    "Batched output tensor's 0th dimension does not equal the sum of the 0th "
                    "dimension sizes of the input tensors"
                )
        start = 0
        for task in tasks:
            end = start + task.rows
            task.outputs = {name: outputs[name][start:end] for name in task.fetch}
            start = end


def _rows(inputs: Mapping[str, np.ndarray]) -> int:
    """Return the size of axis 0 that all inputs of a request share."""
    sizes = set()
    for array in inputs.values():
        if not array.ndim:
            raise InvalidArgument("Batching Run() input tensors must have at least one dimension")
        sizes.add(len(array))
    if not sizes:
        raise InvalidArgument("Batching Run() must have at least one input tensor")
    if len(sizes) > 1:
        raise InvalidArgument("Batching Run() input tensors must have equal 0th-dimension size")
    return sizes.pop()


def _merge(requests: Sequence[Mapping[str, np.ndarray]], more: int, *, pad: bool) -> Parts:
    """Return each input's arrays in order, with `more` copies of a row at the end."""
    merged: Parts = {}
    for name, first in requests[0].items():
        parts = [request[name] for request in requests]
        for part in parts:
            if part.dtype != first.dtype:
                raise InvalidArgument(
                    "Cannot concatenate tensors that have different data types. "
                    f"Input '{name}' of one batch came as {first.dtype} and as {part.dtype}."
                )
        if any(part.shape[1:] != first.shape[1:] for part in parts):
            if not pad or any(part.ndim != first.ndim for part in parts):
                raise FailedPrecondition(
                    f"Tensors with name '{name}' from different tasks have different shapes and "
                    "padding is turned off. Set pad_variable_length_inputs to true, or ensure that "
                    "all tensors with the same name have equal dimensions starting with the first "
                    "dim."
                )
            inner = np.max([part.shape[1:] for part in parts], axis=0)
            parts = [_padded(part, inner) for part in parts]
        if more:
            row = next(part[:1] for part in reversed(parts) if len(part))
            parts += [row] * more
        merged[name] = parts
    return merged


def _padded(array: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Lengthen all axes but the first; the value put in is the array's own first element."""
    if array.shape[1:] == tuple(inner):
        return array
    filler = array.flat[0] if array.size else np.zeros(1, array.dtype)[0]
    padded = np.full((len(array), *inner), filler, array.dtype)
    padded[tuple(slice(size) for size in array.shape)] = array
    return padded
