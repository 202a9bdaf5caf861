"""Requests that wait at the same time run as one: TensorFlow Serving's server-side batching.

Follows `batching/batching_session.cc` (what is merged and split, and the texts of what can't be)
and TensorFlow's `shared_batch_scheduler.h` (when a batch runs, who is refused). Requests wait on
the event loops of the ports, without a thread. A batch runs in a thread of `BatchScheduler` when
its turn comes, and each request gets its share of the outputs.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from .. import metrics
from ..errors import Code, FailedPrecondition, InvalidArgument, ServingError, as_serving_error
from ..event_loop import EventLoop, to_the_end
from .merge import Parts, count_rows, merge
from .parameters import BatchingParameters

Run = Callable[[Parts, Sequence[str], int], Mapping[str, np.ndarray]]
"""Runs the model: inputs, outputs wanted, time limit in ms (0: none)."""

_QUICK_SECONDS = 0.005
"""While a model's batches take less, they run one at a time. On two CPUs, two at a time were a
third slower: they were smaller, and their threads waited up to this long for each other's Python.
"""


@dataclass(eq=False)
class _Task:
    """A request in a batch, or a part of one."""

    inputs: Mapping[str, np.ndarray]
    rows: int
    fetch: Sequence[str]
    deadline: float
    """By the scheduler's clock; infinite without a limit."""
    queued: float
    """By the same clock, when it came."""
    done: Callable[[], None] = lambda: None
    """Called once `outputs` or `error` is set."""
    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    error: ServingError | None = None

    def check(self) -> None:
        """Raise the error, if it has one."""
        if self.error is not None:
            # Not the object itself: every thread that raises it would add to its traceback.
            raise ServingError(self.error.code, self.error.message)


@dataclass(eq=False)
class _Batch:
    """Requests that will run as one."""

    tasks: list[_Task]
    rows: int
    loop: EventLoop
    """Its first request came in there."""
    offered: bool = False
    """Whether it is ready to run."""


class BatchScheduler:
    """Says which batches run: at most `threads` at a time, queues with batches taking turns.

    Args:
        threads: for the batches of all queues.
        clock: seconds, from any start.
    """

    def __init__(self, threads: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._free = threads
        self._lock = threading.Lock()
        self._turns: deque[BatchQueue] = deque()
        """Queues with batches that are ready to run."""
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="batch")

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

    def finished(self, queue: BatchQueue) -> None:
        """Let others run in place of a batch of a queue that has run."""
        with self._lock:
            queue.running -= 1
            self._free += 1
            self._start_next()

    def _start_next(self) -> None:
        passed_over = 0
        while self._free and passed_over < len(self._turns):
            queue = self._turns.popleft()
            if queue.running and queue.quick:
                passed_over += 1
            else:
                passed_over = 0
                self._start(queue)
            if queue.offered:
                self._turns.append(queue)

    def _start(self, queue: BatchQueue) -> None:
        batch = queue.offered.popleft()
        queue.waiting.remove(batch)
        queue.running += 1
        self._free -= 1
        self._threads.submit(queue.run_batch, batch)


class BatchQueue:
    """The requests for one signature of one version of a model."""

    def __init__(self, scheduler: BatchScheduler, run: Run, parameters: BatchingParameters) -> None:
        self._scheduler = scheduler
        self._lock = scheduler._lock
        self._clock = scheduler.clock
        self._run = run
        self._parameters = parameters
        self._most_rows = parameters.rows
        self._wait_seconds = parameters.batch_timeout_micros / 1e6
        self.waiting: deque[_Batch] = deque()
        """Batches that do not run yet, all but the last one closed; under the scheduler's lock."""
        self.offered: deque[_Batch] = deque()
        """Those of them that are ready to run."""
        self.running = 0
        self.quick = False
        """Whether the last batch was."""

    async def run(
        self,
        loop: EventLoop,
        inputs: Mapping[str, np.ndarray],
        fetch: Sequence[str],
        timeout_ms: int = 0,
    ) -> dict[str, np.ndarray]:
        """Run one request together with others.

        Cancelled, it ends once a batch with the request has run: the model must stay that long.

        Args:
            loop: the one that this runs on.
            inputs: arrays with the same number of rows (axis 0).
            fetch: the outputs wanted.
            timeout_ms: for waiting and running together; 0: no limit.

        Raises:
            ServingError: the request can't be batched, the queue is full, or the batch failed.
        """
        tasks = self._tasks(inputs, fetch, timeout_ms)
        for task in tasks:
            done = asyncio.Event()
            task.done = partial(loop.call_soon, done.set)
            self._enqueue(task, loop)
            await to_the_end(done)
            task.check()
        return _joined(tasks)

    def _tasks(
        self, inputs: Mapping[str, np.ndarray], fetch: Sequence[str], timeout_ms: int
    ) -> list[_Task]:
        """Return a request, or its parts: one after the other, each in a batch."""
        rows, limit = count_rows(inputs), self._parameters
        if rows > limit.max_batch_size:
            raise InvalidArgument(
                f"Task size {rows} is larger than maximum input batch size {limit.max_batch_size}"
            )
        now = self._clock()
        deadline = now + timeout_ms / 1000 if timeout_ms > 0 else float("inf")
        if rows <= self._most_rows:
            return [_Task(inputs, rows, fetch, deadline, now)]
        return [
            _Task(
                {name: array[start : start + self._most_rows] for name, array in inputs.items()},
                min(self._most_rows, rows - start),
                fetch,
                deadline,
                now,
            )
            for start in range(0, rows, self._most_rows)
        ]

    def _enqueue(self, task: _Task, loop: EventLoop) -> None:
        """Put a request into the last batch, or into a new one; on the loop that it came on."""
        limit = self._parameters
        with self._lock:
            last = self.waiting[-1] if self.waiting else None
            if last is not None and last.rows + task.rows <= self._most_rows:
                last.tasks.append(task)
                last.rows += task.rows
                if last.rows == self._most_rows:
                    self._scheduler.offer(self, last)
                return
            if len(self.waiting) >= limit.max_enqueued_batches:
                raise ServingError(
                    Code.UNAVAILABLE,
                    "The batch scheduling queue to which this task was submitted is full; "
                    f"currently {len(self.waiting)} batches enqueued and max_enqueued_batches is "
                    f"{limit.max_enqueued_batches}",
                )
            if last is not None:
                self._scheduler.offer(self, last)  # It will get no fuller.
            batch = _Batch([task], task.rows, loop)
            self.waiting.append(batch)
            if batch.rows == self._most_rows:
                self._scheduler.offer(self, batch)
                return
        # Later even without a wait: all that the loop has at hand now joins the batch.
        loop.call_later(self._wait_seconds, self._offer, batch)

    def _offer(self, batch: _Batch) -> None:
        with self._lock:
            self._scheduler.offer(self, batch)

    def run_batch(self, batch: _Batch) -> None:
        """Run a batch whose turn it is, and hand out the answers."""
        started = self._clock()
        try:
            self._answer(batch)
        except BaseException as error:
            # One bad request fails all of its batch, as in TensorFlow Serving.
            known = as_serving_error(error)
            for task in batch.tasks:
                task.error = known
        finally:
            self.quick = self._clock() - started < _QUICK_SECONDS
            # First the next batch, so that it runs while these answers are written. From the loop,
            # so that requests which came meanwhile join it.
            batch.loop.call_soon(self._scheduler.finished, self)
            for task in batch.tasks:
                task.done()

    def _answer(self, batch: _Batch) -> None:
        tasks = batch.tasks
        now = self._clock()
        deadline = max(task.deadline for task in tasks)
        if deadline <= now:
            raise ServingError(
                Code.RESOURCE_EXHAUSTED, "Run() timeout exceeded while waiting in batching queue"
            )
        milliseconds = 0 if deadline == float("inf") else max(1, int((deadline - now) * 1000))
        rows = self._parameters.padded(batch.rows) if batch.rows else 0
        metrics.QUEUING_LATENCY.add_all(
            [(now - task.queued) * 1e6 for task in tasks], self._parameters.thread_pool_name
        )
        metrics.INPUT_BATCH_SIZE.add_all([task.rows for task in tasks])
        metrics.PADDING_SIZE.add(rows - batch.rows)
        metrics.PROCESSED_BATCH_SIZE.add(rows)
        metrics.WRAPPED_RUN_COUNT.add()
        inputs = merge(
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


def _joined(tasks: Sequence[_Task]) -> dict[str, np.ndarray]:
    """Return the outputs of a request from those of its parts."""
    if len(tasks) == 1:
        return tasks[0].outputs
    return {name: np.concatenate([task.outputs[name] for task in tasks]) for name in tasks[0].fetch}
