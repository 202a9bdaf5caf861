"""Requests that wait at the same time run as one: TensorFlow Serving's server-side batching.

Follows `batching/batching_session.cc` (what is merged and split, and the texts of what can't be)
and TensorFlow's `shared_batch_scheduler.h` (when a batch runs, who is refused). Requests wait
without a thread. A batch runs in a thread of `BatchScheduler` when its turn comes, and each request
gets its share of the outputs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .. import metrics
from ..errors import Code, FailedPrecondition, InvalidArgument, ServingError, as_serving_error
from ..event_loop import EventLoop, to_the_end
from .merge import Parts, apart, count_rows, merge
from .parameters import BatchingParameters
from .scheduler import BatchScheduler
from .task import Batch, HandOn, Line, Task

Run = Callable[[Parts, Sequence[str], int], Mapping[str, np.ndarray]]
"""Runs the model: inputs, outputs wanted, time limit in ms (0: none)."""

NO_DEADLINE = float("inf")
ALREADY_OVER = -NO_DEADLINE

_NOT_OF_A_REQUEST = frozenset(
    {Code.CANCELLED, Code.DEADLINE_EXCEEDED, Code.ABORTED, Code.UNAVAILABLE}
)
"""Errors of a batch that no request in it has caused. A resource that was exhausted may suffice
for fewer rows."""


class BatchQueue:
    """The requests for one signature of one version of a model.

    Attributes:
        most_rows: of a batch.
    """

    def __init__(self, scheduler: BatchScheduler, run: Run, parameters: BatchingParameters) -> None:
        self._scheduler = scheduler
        self._lock = scheduler.lock
        self._clock = scheduler.clock
        self._run = run
        self._parameters = parameters
        self.most_rows = parameters.rows
        self._wait_seconds = parameters.batch_timeout_micros / 1e6
        self.line = Line(self._answer)

    def submit(
        self,
        inputs: Mapping[str, np.ndarray],
        fetch: Sequence[str],
        deadline: float,
        done: Callable[[Task], object],
        hand_on: HandOn | None = None,
        count: int = 1,
        fills: bool = True,
    ) -> Task:
        """Have one request run together with others; from any thread.

        Several that have come together can be one: they share a fate then, also where they fail
        (`concerns_all`) or one is cancelled, so that whoever submits has to bring them again, one
        by one.

        Whoever submits calls `BatchScheduler.flush` once all that is at hand was submitted: it runs
        as one. Without this call a batch may wait for ever.

        Args:
            inputs: arrays with the same number of rows (axis 0).
            fetch: the outputs wanted.
            deadline: by the scheduler's clock. A request that has waited until then isn't run.
            done: called once with the task, whose `result()` is the answer: in the batch's thread,
                or in the one that cancels it. The model must stay until then.
            hand_on: has a function called by the thread that submits, after what it has at hand
                now; the next batch then waits for that. None: after the `done` of this one.
            count: of requests, whose rows are one below the other, as many of each.
            fills: whether it may wait for others to fill its batch. One that is brought again has
                done so already.

        Raises:
            ServingError: the request can't be batched, or the queue is full; `done` isn't called.
        """
        rows, most = count_rows(inputs), self._parameters.max_batch_size
        if rows > most:
            raise InvalidArgument(
                f"Task size {rows} is larger than maximum input batch size {most}"
            )
        task = Task(inputs, rows, fetch, deadline, self._clock(), done, count)
        if rows <= self.most_rows:
            self._enqueue(task, hand_on, fills)
        else:
            _InParts(self, task, self.most_rows, hand_on).next()
        return task

    def cancel(self, task: Task) -> None:
        """Say that nobody waits for an answer any more; from any thread, any number of times.

        What doesn't run yet never does. `done` is called all the same: at once, or when the batch
        has run.
        """
        waiting = task.part or task
        with self._lock:
            task.deadline = waiting.deadline = ALREADY_OVER  # Also for what would run of it later.
            batch = waiting.batch
            if batch is None or batch.running or waiting not in batch.tasks:
                return
            batch.tasks.remove(waiting)
            batch.rows -= waiting.rows
        waiting.error = ServingError(Code.CANCELLED, "The request was cancelled.")
        waiting.done(waiting)

    async def run(
        self,
        loop: EventLoop,
        inputs: Mapping[str, np.ndarray],
        fetch: Sequence[str],
        deadline: float = NO_DEADLINE,
    ) -> dict[str, np.ndarray]:
        """Run one request together with others that the event loop has at hand.

        Cancelled, it ends once the request can't run any more: the model must stay that long.

        Args:
            loop: the one that this runs on.
            inputs: arrays with the same number of rows (axis 0).
            fetch: the outputs wanted.
            deadline: for waiting and running together, by the scheduler's clock.

        Raises:
            ServingError: the request can't be batched, the queue is full, or the batch failed.
        """
        done = asyncio.Event()

        def wake(_: Task) -> None:
            loop.call_soon(done.set)

        task = self.submit(inputs, fetch, deadline, wake, loop.call_soon)
        loop.call_later(0, self._scheduler.flush)
        try:
            await done.wait()
        except asyncio.CancelledError:
            self.cancel(task)
            await to_the_end(done)
            raise
        return task.result()

    def _enqueue(self, task: Task, hand_on: HandOn | None, fills: bool = True) -> None:
        """Put a request into the last batch, or into a new one."""
        limit, line = self._parameters, self.line
        with self._lock:
            batch = line.waiting[-1] if line.waiting else None
            if batch is None or batch.rows + task.rows > self.most_rows:
                if len(line.waiting) >= limit.max_enqueued_batches:
                    raise ServingError(
                        Code.UNAVAILABLE,
                        "The batch scheduling queue to which this task was submitted is full; "
                        f"currently {len(line.waiting)} batches enqueued and max_enqueued_batches "
                        f"is {limit.max_enqueued_batches}",
                    )
                if batch is not None:
                    self._scheduler.offer(batch)  # It will get no fuller.
                batch = Batch(line, hand_on)
                line.waiting.append(batch)
                self._scheduler.begun(batch, self._wait_seconds)
            task.batch = batch
            batch.tasks.append(task)
            batch.rows += task.rows
            if batch.rows == self.most_rows or not fills:
                self._scheduler.offer(batch)

    def _answer(self, tasks: Sequence[Task]) -> int:
        """Set outputs or error of each request in a batch; return the rows run, 0 if that failed.

        Where TensorFlow Serving lets one bad request fail all of its batch, this looks for it.
        """
        now = self._clock()
        in_time = [task for task in tasks if task.deadline > now]
        if len(in_time) < len(tasks):
            late = ServingError(
                Code.RESOURCE_EXHAUSTED, "Run() timeout exceeded while waiting in batching queue"
            )
            for task in tasks:
                if task.deadline <= now:
                    task.error = late
        if not in_time:
            return 0
        try:
            return self._run_together(in_time, now)
        except BaseException as error:
            if len(in_time) > 1 and not concerns_all(error):
                for group in apart([task.inputs for task in in_time]):
                    self._answer([in_time[position] for position in group])
            else:
                known = as_serving_error(error)
                for task in in_time:
                    task.error = known
            return 0

    def _run_together(self, tasks: Sequence[Task], now: float) -> int:
        deadline = max(task.deadline for task in tasks)
        milliseconds = 0 if deadline == NO_DEADLINE else max(1, int((deadline - now) * 1000))
        wanted = sum(task.rows for task in tasks)
        rows = self._parameters.padded(wanted) if wanted else 0
        metrics.QUEUING_LATENCY.add_all(
            [(now - task.queued) * 1e6 for task in tasks for _ in range(task.count)],
            self._parameters.thread_pool_name,
        )
        metrics.INPUT_BATCH_SIZE.add_all(
            [task.rows // task.count for task in tasks for _ in range(task.count)]
        )
        metrics.PADDING_SIZE.add(rows - wanted)
        metrics.PROCESSED_BATCH_SIZE.add(rows)
        metrics.WRAPPED_RUN_COUNT.add()
        inputs = merge(
            [task.inputs for task in tasks],
            rows - wanted,
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
        return rows


class _InParts:
    """A request too large for one batch: its parts run one after the other, each in a batch."""

    def __init__(
        self, queue: BatchQueue, whole: Task, most_rows: int, hand_on: HandOn | None
    ) -> None:
        self._queue = queue
        self._whole = whole
        self._most_rows = most_rows
        self._hand_on = hand_on
        self._outputs: list[dict[str, np.ndarray]] = []

    def next(self) -> None:
        """Queue the next part."""
        whole = self._whole
        start = len(self._outputs) * self._most_rows
        end = min(start + self._most_rows, whole.rows)
        inputs = {name: array[start:end] for name, array in whole.inputs.items()}
        whole.part = Task(
            inputs, end - start, whole.fetch, whole.deadline, self._queue._clock(), self._done
        )
        self._queue._enqueue(whole.part, self._hand_on)
        if start:
            self._queue._scheduler.flush()

    def _done(self, part: Task) -> None:
        whole = self._whole
        try:
            self._outputs.append(part.result())
            if len(self._outputs) * self._most_rows < whole.rows:
                self.next()
                return
            whole.outputs = {
                name: np.concatenate([outputs[name] for outputs in self._outputs])
                for name in whole.fetch
            }
        except Exception as error:
            whole.error = as_serving_error(error)
        whole.done(whole)


def concerns_all(error: BaseException) -> bool:
    """Whether no request of a batch that failed so would succeed without the others."""
    return isinstance(error, ServingError) and error.code in _NOT_OF_A_REQUEST
