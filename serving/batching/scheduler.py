"""When batches run, in which thread, and who is told.

Follows TensorFlow's `shared_batch_scheduler.h`: at most so many batches run at a time, and queues
with batches take turns. Batches that take a moment only run one at a time, as Python's threads do.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

from .task import Batch, HandOn, Line, Task
from .timer import Timer

log = logging.getLogger(__name__)

_NEVER = float("inf")
_QUICK_SECONDS = 0.005
"""While a model's batches take less, they run one at a time. On two CPUs, two at a time were a
third slower: they were smaller, and their threads waited up to this long for each other's Python.
"""


class BatchScheduler:
    """Says which batches run.

    Args:
        threads: how many run at a time, of all queues together.
        clock: seconds, from any start.

    Attributes:
        lock: of all that the queues share.
        after_batch: called in a batch's thread, after the `done` of each of its requests.
    """

    def __init__(self, threads: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.lock = threading.Lock()
        self.after_batch: list[Callable[[], object]] = []
        self._free = threads
        self._turns: deque[Line] = deque()
        """Those with batches that are ready to run."""
        self._fresh: list[Batch] = []
        """Batches that only wait for `flush`."""
        self._timer = Timer()
        self._look_at = _NEVER
        """When the timer starts what may start then."""
        self._to_run: SimpleQueue[Batch] = SimpleQueue()
        self._threads = 0
        self._most_threads = 2 * threads
        """While half of them run batches, the others may hand out the answers of the last ones."""
        self._idle = 0
        """Threads that wait for a batch, less batches that wait for a thread."""

    def flush(self) -> None:
        """Let run what was submitted; to be called when no more is at hand. From any thread."""
        if self._fresh:
            with self.lock:
                fresh, self._fresh = self._fresh, []
                for batch in fresh:
                    self.offer(batch)

    def begun(self, batch: Batch, seconds: float) -> None:
        """Let a new batch wait so long for more requests; 0: for `flush`. Under the lock."""
        if seconds > 0:
            self._timer.call_later(seconds, self._time_is_up, batch)
        else:
            self._fresh.append(batch)

    def offer(self, batch: Batch) -> None:
        """Let a batch run when its turn comes. Under the lock."""
        if not batch.offered:
            batch.offered = True
            line = batch.line
            line.offered.append(batch)
            if len(line.offered) == 1:
                self._turns.append(line)
            self._start_next()

    def _time_is_up(self, batch: Batch) -> None:
        with self.lock:
            self.offer(batch)

    def _look_again(self) -> None:
        with self.lock:
            self._look_at = _NEVER
            self._start_next()

    def _start_next(self) -> None:
        self._hand_over(self._next())

    def _hand_over(self, batches: list[Batch]) -> None:
        """Have batches run by threads. Under the lock."""
        for batch in batches:
            self._idle -= 1
            if self._idle < 0 and self._threads < self._most_threads:
                self._idle += 1
                name = f"batch {self._threads}"
                self._threads += 1
                threading.Thread(target=self._work, name=name, daemon=True).start()
            self._to_run.put(batch)

    def _next(self) -> list[Batch]:
        """Return the batches whose turn it is; from now on they count as running."""
        found: list[Batch] = []
        passed_over, now = 0, self.clock()
        while self._free and passed_over < len(self._turns):
            line = self._turns.popleft()
            if line.quick_until > now:
                passed_over += 1
                # In case that it isn't quick this time.
                self._look(line.quick_until, now)
            else:
                passed_over = 0
                found.append(self._begin(line, now))
            if line.offered:
                self._turns.append(line)
        return found

    def _look(self, at: float, now: float) -> None:
        """Have the timer start what may start at a time."""
        if at < self._look_at:
            self._look_at = at
            # By another clock than the real one it may be in the past already.
            self._timer.call_later(max(at - now, 0.0001), self._look_again)

    def _begin(self, line: Line, now: float) -> Batch:
        batch = line.offered.popleft()
        line.waiting.remove(batch)
        line.running += 1
        self._free -= 1
        batch.running = True
        if batch.rows <= line.quick_rows:
            line.quick_until = now + _QUICK_SECONDS
        return batch

    def _work(self) -> None:
        """Run batches in this thread."""
        while True:
            self._run(self._to_run.get())
            with self.lock:
                self._idle += 1

    def _run(self, first: Batch) -> None:
        """Run a batch, then those whose turn it is when its answers are handed out."""
        batch: Batch | None = first
        while batch is not None:
            started = self.clock()
            rows = batch.line.run(batch.tasks)
            seconds = self.clock() - started
            if batch.hand_on is not None:
                self._hand_on(batch.hand_on, batch, rows, seconds)
                batch = None
            elif seconds < _QUICK_SECONDS:
                # Who gets an answer sends the next request: it joins the next batch.
                self._hand_out(batch.tasks)
                with self.lock:
                    self._end(batch, rows, seconds)
                    found = self._next()
                    self._hand_over(found[1:])
                batch = found[0] if found else None
            else:
                self._finished(batch, rows, seconds)
                self._hand_out(batch.tasks)
                batch = None

    def _hand_on(self, hand_on: HandOn, batch: Batch, rows: int, seconds: float) -> None:
        hand_on(self._finished, batch, rows, seconds)
        self._hand_out(batch.tasks)

    def _finished(self, batch: Batch, rows: int, seconds: float) -> None:
        with self.lock:
            self._end(batch, rows, seconds)
            self._start_next()

    def _end(self, batch: Batch, rows: int, seconds: float) -> None:
        """Note that a batch has run, and how long it took."""
        line = batch.line
        line.running -= 1
        line.quick_until = 0
        self._free += 1
        if not rows:
            return
        if seconds < _QUICK_SECONDS:
            line.quick_rows = max(line.quick_rows, rows)
        else:
            line.quick_rows = min(line.quick_rows, rows - 1)

    def _hand_out(self, tasks: list[Task]) -> None:
        for task in tasks:
            self._call(task.done, task)
        for function in self.after_batch:
            self._call(function)

    @staticmethod
    def _call(function: Callable[..., object], *args: object) -> None:
        try:
            function(*args)
        except Exception:
            # Others wait for their answers, and the next batch for this one's end.
            log.exception("an answer was not handed out")
