"""A request for a prediction on its way: read, run in a batch or by a worker, answered.

No thread waits for it: whoever has done one step does the next, or leaves it to another thread.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Any

from ... import metrics
from ...batching.task import Task
from ...budget import Budget
from ...errors import Code, ServingError
from ...models.lifecycle import Lease
from ...models.registry import Models
from ...predict.call import Call, Outputs, run_here
from ...predict.memory import input_bytes
from ..admission import Admission
from ..grpc import api as grpc_api
from ..rest.api import Prediction, Response, failed
from .frames import Kind
from .link import Link
from .workers import Workers


class Carrier:
    """What the requests of one port share.

    Args:
        link: takes the answers.
        models: what is served.
        admission: places for all of them.
        budget: of the memory for all requests of the server.
        workers: do what is long, and run what isn't batched.
        under_way: requests by id, of all ports.
    """

    def __init__(
        self,
        link: Link,
        models: Models,
        admission: Admission,
        budget: Budget,
        workers: Workers,
        under_way: dict[int, Any],
    ) -> None:
        self.link = link
        self.models = models
        self.admission = admission
        self.budget = budget
        self.workers = workers
        self.under_way = under_way


class Exchange(ABC):
    """One request. The steps are called by the thread that does the step before.

    Args:
        carrier: of its port.
        id: of the request.
        api: as the metrics call it.
        deadline: by `time.monotonic`; infinite without a limit.
    """

    entrypoint: str
    """As the metrics call the port."""

    __slots__ = (
        "_api",
        "_call",
        "_carrier",
        "_gone",
        "_hold",
        "_id",
        "_lease",
        "_model",
        "_run_started",
        "_started",
        "_task",
        "_version",
        "deadline",
    )

    def __init__(self, carrier: Carrier, id: int, api: str, deadline: float) -> None:
        self._carrier = carrier
        self._id = id
        self._api = api
        self._gone = False
        self._hold = carrier.budget.hold()
        self._lease: Lease | None = None
        self._model: str | None = None
        """As the metrics call it, once the request counts."""
        self._task: Task | None = None
        self.deadline = deadline

    def begin(self, content: bytes) -> None:
        """Take a place and read the request, unless that is long: then a worker does."""
        carrier = self._carrier
        try:
            carrier.admission.__enter__()
        except ServingError as error:
            self._send_error(error)
            return
        carrier.under_way[self._id] = self
        try:
            self._hold.add(len(content))
        except ServingError as error:
            self._fail(error)
            return
        if self._is_long(content):
            carrier.workers.submit(self._read, content)
        else:
            self._read(content)

    def cancel(self) -> None:
        """Take note that nobody waits for an answer; what doesn't run yet never will."""
        self._gone = True
        task = self._task
        if task is not None:
            queue = self._call.signature.queue
            assert queue is not None
            queue.cancel(task)

    @abstractmethod
    def _is_long(self, content: bytes) -> bool:
        """Whether reading the request takes long, as far as its bytes say."""

    @abstractmethod
    def _open(self, content: bytes) -> tuple[Any, grpc_api.Target]:
        """Count the request, and return it with name, version and label of its model."""

    @abstractmethod
    def _read_call(self, request: Any) -> Call[bytes]:
        """Return what is to run."""

    @abstractmethod
    def _send(self, answer: bytes) -> None:
        """Send an answer that the call has made."""

    @abstractmethod
    def _send_error(self, error: BaseException) -> None:
        """Send what an error tells the caller."""

    def _read(self, content: bytes) -> None:
        try:
            request, target = self._open(content)
            lease = self._carrier.models.lease(*target)
            self._version = lease.__enter__()
            self._lease = lease
            self._call = call = self._read_call(request)
            call.reserve(self._hold)
            self._run_started = time.perf_counter()
            queue = call.signature.queue
            if self._gone:
                raise _gone()
            if queue is not None:
                self._task = queue.submit(call.inputs, call.fetch, self.deadline, self._ran)
            else:
                self._carrier.workers.submit(self._run)
        except Exception as error:
            self._fail(error)

    def _count(self, name: str) -> None:
        """Count this request for a model from now on."""
        self._started = time.perf_counter()
        self._model = self._carrier.models.metric_name(name)

    def _run(self) -> None:
        """Run the model in this thread."""
        try:
            if self._gone:
                raise _gone()
            outputs = run_here(self._version, self._call, self.deadline)
        except Exception as error:
            self._fail(error)
        else:
            self._answer(outputs)

    def _ran(self, task: Task) -> None:
        """Take the outputs of the batch."""
        try:
            outputs = task.result()
            metrics.count_run(
                self._version.model_name, self._call.api, time.perf_counter() - self._run_started
            )
            long = self._call.is_long(outputs)
        except Exception as error:
            self._fail(error)
            return
        if long:
            self._carrier.workers.submit(self._answer, outputs)
        else:
            self._answer(outputs)

    def _answer(self, outputs: Outputs) -> None:
        """Send the answer, or why there is none."""
        try:
            if not self._gone:
                self._call.settle(self._hold, outputs)
                self._send(self._call.answer(outputs))
            assert self._model is not None
            metrics.count_success(self._model, self._api, self.entrypoint, self._started)
        except Exception as error:
            self._fail(error)
        else:
            self._end()

    def _fail(self, error: Exception) -> None:
        if self._model is not None:
            error = metrics.count_failure(self._model, error)
        if not self._gone:
            self._send_error(error)
        self._end()

    def _end(self) -> None:
        carrier = self._carrier
        if self._lease is not None:
            self._lease.__exit__()
            self._lease = None
        self._hold.close()
        carrier.under_way.pop(self._id, None)
        carrier.admission.__exit__()


class GrpcExchange(Exchange):
    """A call to PredictionService."""

    entrypoint = "GRPC"
    __slots__ = ("_method",)

    def __init__(self, carrier: Carrier, id: int, method: grpc_api.Method, deadline: float) -> None:
        super().__init__(carrier, id, method.name, deadline)
        self._method = method

    def _is_long(self, content: bytes) -> bool:
        return len(content) > self._method.short_bytes

    def _open(self, content: bytes) -> tuple[Any, grpc_api.Target]:
        request = self._method.parse(content)
        spec = self._method.spec(request)
        self._count(spec.name if spec is not None else "")
        return request, grpc_api.target(spec)

    def _read_call(self, request: Any) -> Call[bytes]:
        return self._method.read(self._version, request, self._hold)

    def _send(self, answer: bytes) -> None:
        self._carrier.link.answer(Kind.GRPC_ANSWER, 0, self._id, b"", answer)

    def _send_error(self, error: BaseException) -> None:
        answer_grpc_error(self._carrier.link, self._id, error)


class RestExchange(Exchange):
    """A POST that predicts, classifies or regresses."""

    entrypoint = "REST"
    __slots__ = ("_gzip", "_prediction")

    def __init__(
        self, carrier: Carrier, id: int, prediction: Prediction, deadline: float, *, gzip: bool
    ) -> None:
        super().__init__(carrier, id, prediction.api, deadline)
        self._prediction = prediction
        self._gzip = gzip

    def _is_long(self, content: bytes) -> bool:
        return self._prediction.is_long(content, gzip=self._gzip)

    def _open(self, content: bytes) -> tuple[Any, grpc_api.Target]:
        prediction = self._prediction
        self._count(prediction.name)
        request = prediction.parse(content, self._hold, gzip=self._gzip)
        return request, (prediction.name, prediction.number, prediction.label)

    def _read_call(self, request: Any) -> Call[bytes]:
        call = self._prediction.method.read(self._version, request)
        self._hold.add(input_bytes(call.inputs))
        return call

    def _send(self, answer: bytes) -> None:
        answer_http(self._carrier.link, self._id, Response(200, answer))

    def _send_error(self, error: BaseException) -> None:
        answer_http(self._carrier.link, self._id, failed(error))


def _gone() -> ServingError:
    return ServingError(Code.CANCELLED, "The request was cancelled.")


def answer_grpc_error(link: Link, id: int, error: BaseException) -> None:
    """Send the status that an error becomes."""
    code, text = grpc_api.failed(error)
    link.answer(Kind.GRPC_ANSWER, code, id, b"", text.encode(errors="replace"))


def answer_http(link: Link, id: int, response: Response) -> None:
    """Send an HTTP response."""
    head = b"content-type: " + response.content_type
    link.answer(Kind.HTTP_ANSWER, response.status, id, head, response.body)
