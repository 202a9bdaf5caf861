"""Requests for predictions on their way: read, run in a batch or by a worker, answered.

No thread waits for them: whoever has done one step does the next, or leaves it to another thread.
Requests of one kind that came together are one exchange, so that what each step takes by itself,
such as locks and metrics, is taken once. Where one of them goes its own way, as its caller has gone
or the batch has failed, they part, and each goes on alone.
"""

from __future__ import annotations

import copy
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

from ... import metrics
from ...batching.queue import concerns_all
from ...batching.task import Task
from ...errors import Code, ServingError
from ...models.lifecycle import Lease
from ...predict.call import Call, Outputs, part, run_here
from ..grpc import api as grpc_api
from .carrier import Caller, Carrier


class Exchange(ABC):
    """One request, or several. The steps are called by the thread that does the step before.

    Args:
        carrier: of their port.
        callers: who wait for the answers, and have places of the port's.
        api: as the metrics call it.
    """

    entrypoint: str
    """As the metrics call the port."""

    call: Call[bytes]
    """What is to run, once it has been read."""

    def __init__(self, carrier: Carrier, callers: list[Caller], api: str) -> None:
        self._carrier = carrier
        self._callers = callers
        self._api = api
        self._gone: set[int] = set()
        """Ids of those that wait no longer."""
        self._hold = carrier.budget.hold()
        self._lease: Lease | None = None
        self._model: str | None = None
        """As the metrics call it, once the requests count."""
        self._task: Task | None = None
        carrier.under_way.update((caller.id, self) for caller in callers)

    def begin(self, contents: Sequence[bytes]) -> None:
        """Read what each caller has sent, unless that is long: then a worker does."""
        try:
            self._hold.add(sum(map(len, contents)))
        except ServingError as error:
            self._not_read(contents, error)
            return
        if len(contents) == 1 and self._is_long(len(contents[0])):
            self._carrier.workers.submit(self._read, contents)
        else:
            self._read(contents)

    def cancel(self, ids: set[int]) -> None:
        """Take note that some wait no longer; what doesn't run yet never will."""
        self._gone |= ids
        task = self._task
        if task is not None:
            queue = self.call.signature.queue
            assert queue is not None
            queue.cancel(task)

    def join(self, others: Sequence[Exchange]) -> None:
        """Take over other exchanges, whose calls are of this one's kind."""
        self.call.join([other.call for other in others])
        self._hold.join(other._hold for other in others)
        for other in others:
            self._callers += other._callers
            self._gone |= other._gone
            assert other._lease is not None
            other._lease.__exit__()
        self._carrier.under_way.update((caller.id, self) for caller in self._callers)

    def parted(self, most: int) -> list[Self]:
        """Return exchanges for at most so many of the callers each, in place of this one."""
        callers, call, lease, count = self._callers, self.call, self._lease, self.call.count
        assert lease is not None
        found = []
        for start in range(0, count, most):
            end = min(start + most, count)
            one = self._of(callers[start:end])
            one._hold, one._lease = self._hold.share(end - start, count - start), lease.again()
            one.call = call.having(
                inputs=part(call.inputs, count, start, end),
                count=end - start,
                reserved=call.reserved * (end - start) // count,
            )
            found.append(one)
        lease.__exit__()
        return found

    def submit(self, again: bool = False) -> None:
        """Have it run: in a batch, or by a worker.

        Args:
            again: it has been in a batch already, which failed.
        """
        call = self.call
        try:
            if self._waiting() < len(self._callers):
                raise ServingError(Code.CANCELLED, "The request was cancelled.")
            self._run_started = time.perf_counter()
            queue = call.signature.queue
            if queue is not None:
                # The most patient one sets the limit, as in a batch.
                deadline = max([caller.deadline for caller in self._callers])
                self._task = queue.submit(
                    *(call.inputs, call.fetch, deadline, self._ran),
                    count=call.count,
                    fills=not again,
                )
            else:
                self._carrier.workers.submit(self._run)
        except Exception as error:
            self._not_run(error)

    @abstractmethod
    def _is_long(self, size: int) -> bool:
        """Whether reading the request takes long, as far as its size says."""

    @abstractmethod
    def _open(self, contents: Sequence[bytes]) -> tuple[Any, grpc_api.Target]:
        """Count the requests, and return them as one, with name, version and label of the model."""

    @abstractmethod
    def _read_call(self, request: Any) -> Call[bytes]:
        """Return what is to run."""

    @abstractmethod
    def _send(self, ids: Sequence[int], answers: Sequence[bytes]) -> None:
        """Send the answers that the call has made."""

    @abstractmethod
    def _send_error(self, ids: Sequence[int], error: BaseException) -> None:
        """Send what an error tells the callers."""

    def _read(self, contents: Sequence[bytes]) -> None:
        try:
            request, target = self._open(contents)
            lease = self._carrier.models.lease(*target)
            self._version = lease.__enter__()
            self._lease = lease
            self.call = call = self._read_call(request)
            if len(contents) > 1 and call.signature.queue is None:
                raise ReadEach
            call.reserve(self._hold)
        except Exception as error:
            self._not_read(contents, error)
        else:
            self._carrier.read.append(self)

    def _not_read(self, contents: Sequence[bytes], error: Exception) -> None:
        """Read each of several alone; of one, say why it could not be read."""
        if len(contents) == 1:
            self._fail(error)
            return
        # What is wrong with all of them together need not be wrong with each.
        self._release()
        for caller, content in zip(self._callers, contents, strict=True):
            one = self._of([caller])
            one._hold, one._model = self._carrier.budget.hold(), None
            one.begin([content])

    def _of(self, callers: list[Caller]) -> Self:
        """Return a copy for some of the callers, which answers these from now on."""
        one = copy.copy(self)
        one._callers, one._task = callers, None
        self._carrier.under_way.update((caller.id, one) for caller in callers)
        return one

    def _count(self, name: str) -> None:
        """Count this request for a model from now on."""
        self._started = time.perf_counter()
        self._model = self._carrier.models.metric_name(name)

    def _run(self) -> None:
        """Run the model in this thread."""
        try:
            if not self._waiting():
                raise ServingError(Code.CANCELLED, "The request was cancelled.")
            [caller] = self._callers
            outputs = run_here(self._version, self.call, caller.deadline)
        except Exception as error:
            self._fail(error)
        else:
            self._answer(outputs)

    def _ran(self, task: Task) -> None:
        """Take the outputs of the batch."""
        call = self.call
        try:
            outputs = task.result()
            seconds = time.perf_counter() - self._run_started
            metrics.count_run(self._version.model_name, call.api, seconds, call.count)
            long = call.is_long(outputs)
        except Exception as error:
            if self._waiting() < len(self._callers) or not concerns_all(error):
                self._not_run(error)
            else:
                self._fail(error)
            return
        if long:
            self._carrier.workers.submit(self._answer, outputs)
        else:
            self._answer(outputs)

    def _not_run(self, error: Exception) -> None:
        """Have each of several run alone; of one, say why it did not run."""
        if len(self._callers) == 1:
            self._fail(error)
            return
        for one in self.parted(1):
            one.submit(again=True)

    def _waiting(self) -> int:
        """Return how many still wait for their answers."""
        callers = self._callers
        if not self._gone:
            return len(callers)
        return sum(caller.id not in self._gone for caller in callers)

    def _answer(self, outputs: Outputs) -> None:
        """Send the answers, or why there are none."""
        call, callers = self.call, self._callers
        try:
            if self._waiting():
                call.settle(self._hold, outputs)
                answers = call.answers(outputs, call.count)
                # Who has gone meanwhile is known where the answers go.
                self._send([caller.id for caller in callers], answers)
            assert self._model is not None
            metrics.count_success(
                self._model, self._api, self.entrypoint, self._started, call.count
            )
        except Exception as error:
            self._fail(error)
        else:
            self._end()

    def _fail(self, error: Exception) -> None:
        callers = self._callers
        if self._model is not None:
            error = metrics.count_failure(self._model, error, len(callers))
        if self._waiting():
            self._send_error([caller.id for caller in callers], error)
        self._end()

    def _end(self) -> None:
        self._release()
        carrier = self._carrier
        for caller in self._callers:
            carrier.under_way.pop(caller.id, None)
        carrier.admission.give_back(len(self._callers))

    def _release(self) -> None:
        """Give back what is held for the requests, but for their places."""
        if self._lease is not None:
            self._lease.__exit__()
            self._lease = None
        self._hold.close()


class ReadEach(Exception):
    """Several requests can't be read together."""
