"""Both ports of a server by the native front end: opened, served, stopped."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import lru_cache, partial
from queue import Empty, SimpleQueue
from typing import Any

from google.protobuf.message import Message  # type: ignore[import-untyped]
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
)

from ...batching.scheduler import BatchScheduler
from ...budget import Budget
from ...config import ServerConfig
from ...errors import Code, ServingError
from ...models.registry import Models
from ...predict.call import NO_DEADLINE
from ..admission import Admission
from ..grpc import api as grpc_api
from ..grpc.api import MODEL_SERVICE, PREDICTION_SERVICE
from ..rest import methods as rest_methods
from ..rest.api import RestApi, failed
from . import joining
from .carrier import Caller, Carrier
from .exchanges import Exchange
from .forms import Forms
from .frames import Entry, Kind
from .grpc_exchanges import GrpcExchange
from .grpc_exchanges import answer_error as answer_grpc_error
from .link import Link
from .program import Program
from .rest_exchanges import RestExchange, RowsExchange, ask_again
from .rest_exchanges import answer as answer_http
from .settings import settings
from .workers import Workers

log = logging.getLogger(__name__)

_OPEN_SECONDS = 60
_LOOKING_THREADS = 2
_KNOWN_PATHS = 256
"""So many paths of at most `_KNOWN_PATH` characters are not taken apart again."""

_KNOWN_PATH = 256

GrpcCalls = Callable[[list[Entry]], None]
"""Gets calls to one method."""


class NativePorts:
    """Both ports of a server. Its methods can be called from any thread.

    Args:
        program: the front end, which has said hello.
        config: of the server.
        models: what is served.
        scheduler: of the models' batches.
        budget: for what waits.
        metrics_path: see `RestApi`.
        on_lost: called when the front end has ended without being told to, perhaps twice.
    """

    def __init__(
        self,
        program: Program,
        config: ServerConfig,
        models: Models,
        scheduler: BatchScheduler,
        budget: Budget,
        metrics_path: str,
        on_lost: Callable[[], None],
    ) -> None:
        self._program = program
        self._models = models
        self._scheduler = scheduler
        self._stopping = False
        self._lost = on_lost
        self._rest = RestApi(models, config, metrics_path)
        self._known = lru_cache(_KNOWN_PATHS)(self._rest.prediction)
        self._batching = config.enable_batching
        self._rest_seconds = config.rest_api_timeout_in_ms / 1000
        self._settings = settings(config, budget.most, self._rest.headers)
        self._told: SimpleQueue[tuple[int, str]] = SimpleQueue()
        """Kind and head of what came that is neither a request nor about one."""
        link = Link(program.small, program.large, self._on_frame, self._flush, self._on_lost)
        self._link = link
        self._forms = Forms(link)
        under_way: dict[int, Exchange | _Reload] = {}
        self._under_way = under_way
        carriers = [
            Carrier(
                link,
                models,
                Admission(threads + config.max_waiting_requests),
                budget,
                Workers(name, threads, self._flush),
                under_way,
            )
            for name, threads in (("grpc", config.grpc_threads), ("rest", config.rest_threads))
        ]
        self._grpc_carrier, self._rest_carrier = carriers
        # Apart from predictions: probes must not wait for these.
        self._looking = Workers("looking", _LOOKING_THREADS, link.flush)
        self._calls = self._grpc_calls(config)
        scheduler.after_batch.append(self._flush)

    def start(self) -> None:
        """Open the ports and answer requests from now on.

        Raises:
            ServingError: an address can't be bound, or a certificate can't be used.
        """
        self._link.start()
        self._link.tell(Kind.CONFIGURE, body=self._settings)
        # At once: who asks for the health as soon as the port is open learns how it is.
        self.update_health()
        kind, text = self._heard(_OPEN_SECONDS)
        if kind != Kind.SERVING:
            self._stopping = True
            self._link.close()
            raise ServingError(Code.UNKNOWN, text)

    def update_health(self) -> None:
        """Have the health service say whether every model has a version that serves."""
        serving = self._models.available and not self._stopping
        self._link.tell(Kind.HEALTH, status=int(serving))

    def stop(self, grace_seconds: float) -> None:
        """Take no new requests, wait for those under way, then cut them off."""
        self._stopping = True
        self._link.tell(Kind.DRAIN, micros=int(grace_seconds * 1e6))
        self._heard(grace_seconds + 1)
        self._link.close()
        self._program.wait(1)

    def _heard(self, seconds: float) -> tuple[int, str]:
        try:
            return self._told.get(timeout=seconds)
        except Empty:
            return 0, f"{self._program.path} does not answer."

    def _on_lost(self) -> None:
        if not self._stopping:
            self._stopping = True
            log.error(
                "The front end %s has ended with status %s.",
                self._program.path,
                self._program.wait(1),
            )
            self._told.put((0, "The front end has ended."))
            self._lost()

    def _flush(self) -> None:
        for carrier in (self._grpc_carrier, self._rest_carrier):
            joining.submit(carrier.read)
        self._scheduler.flush()
        self._link.flush()

    def _on_frame(self, kind: int, status: int, head: bytes, entries: list[Entry]) -> None:
        if kind == Kind.GRPC:
            calls = self._calls.get(head)
            if calls is not None:
                calls(entries)
            else:
                error = ServingError(Code.UNIMPLEMENTED, "Method not found!")
                answer_grpc_error(self._link, [entry.id for entry in entries], error)
        elif kind == Kind.ROWS:
            self._rows(status, entries)
        elif kind == Kind.HTTP:
            self._http(head, entries)
        elif kind == Kind.CANCEL:
            self._cancel({entry.id for entry in entries})
        else:
            self._told.put((kind, head.decode()))

    def _cancel(self, ids: set[int]) -> None:
        # All of one exchange at once: it parts only once.
        found: dict[Exchange | _Reload, set[int]] = {}
        for id in ids:
            request = self._under_way.get(id)
            if request is not None:
                found.setdefault(request, set()).add(id)
        for request, gone in found.items():
            request.cancel(gone)

    def _grpc_calls(self, config: ServerConfig) -> dict[bytes, GrpcCalls]:
        """Return what answers each method, by its path."""
        as_content = config.enable_serialization_as_tensor_content
        calls: dict[str, GrpcCalls] = {
            f"{PREDICTION_SERVICE.full_name}/{name}": partial(self._predict, method)
            for name, method in grpc_api.prediction_methods(as_content=as_content).items()
        }
        for path, function, request in (
            (
                f"{PREDICTION_SERVICE.full_name}/GetModelMetadata",
                grpc_api.metadata,
                get_model_metadata_pb2.GetModelMetadataRequest,
            ),
            (
                f"{MODEL_SERVICE.full_name}/GetModelStatus",
                grpc_api.status,
                get_model_status_pb2.GetModelStatusRequest,
            ),
        ):
            calls[path] = partial(self._call_later, function, request.FromString)
        calls[f"{MODEL_SERVICE.full_name}/HandleReloadConfigRequest"] = self._reload
        return {f"/{path}".encode(): call for path, call in calls.items()}

    def _predict(self, method: grpc_api.Method, entries: list[Entry]) -> None:
        carrier, now = self._grpc_carrier, time.monotonic()
        entries, refused = _admitted(carrier, entries)
        if refused:
            answer_grpc_error(self._link, refused, carrier.admission.refusal())
        callers = [
            Caller(id, now + micros / 1e6 if micros >= 0 else NO_DEADLINE)
            for id, micros, _ in entries
        ]
        messages = [entry.content for entry in entries]
        for positions in _alike(method, messages):
            exchange = GrpcExchange(carrier, [callers[at] for at in positions], method)
            exchange.begin([messages[at] for at in positions])

    def _call_later(
        self,
        function: Callable[[Models, Any], Message],
        parse: Callable[[bytes], Any],
        entries: list[Entry],
    ) -> None:
        for id, _, message in entries:
            self._looking.submit(self._call, partial(self._looked, function, parse, message), id)

    def _looked(
        self,
        function: Callable[[Models, Any], Message],
        parse: Callable[[bytes], Any],
        message: bytes,
    ) -> Message:
        return function(self._models, parse(message))

    def _call(self, function: Callable[[], Message], id: int) -> None:
        try:
            content = function().SerializeToString()
        except Exception as error:
            answer_grpc_error(self._link, [id], error)
        else:
            self._link.answer(Kind.GRPC_ANSWER, 0, b"", [id], [content])

    def _reload(self, entries: list[Entry]) -> None:
        """Replace the list of models, in a thread of its own: that may take minutes."""
        for id, _, message in entries:
            reload = _Reload(self._models)
            self._under_way[id] = reload
            work = (reload, id, message)
            threading.Thread(target=self._run_reload, args=work, name="reload", daemon=True).start()

    def _run_reload(self, reload: _Reload, id: int, message: bytes) -> None:
        try:
            with self._grpc_carrier.admission:
                self._call(lambda: reload.run(message), id)
        except ServingError as error:
            answer_grpc_error(self._link, [id], error)
        self._under_way.pop(id, None)
        self._link.flush()

    def _http(self, head: bytes, entries: list[Entry]) -> None:
        line, _, rest = head.partition(b"\n")
        method, _, path = line.decode("latin-1").partition(" ")
        headers = dict(pair.split(b": ", 1) for pair in rest.split(b"\n")) if rest else {}
        ids = [entry.id for entry in entries]
        try:
            prediction = None
            if method == "POST":
                response = self._rest.answer_unread(method, path, headers)
                if response is not None:
                    answer_http(self._link, ids, response)
                    return
                known = len(path) <= _KNOWN_PATH
                prediction = (self._known if known else self._rest.prediction)(method, path)
        except Exception as error:
            answer_http(self._link, ids, failed(error))
            return
        if prediction is None:
            for id in ids:
                self._looking.submit(self._look, id, method, path, headers)
            return
        gzip = b"gzip" in headers.get(b"content-encoding", b"")
        callers, bodies = self._rest_callers(entries)
        groups = _alike(prediction.method, bodies) if self._batching and not gzip else _each(bodies)
        for positions in groups:
            exchange = RestExchange(
                self._rest_carrier,
                [callers[at] for at in positions],
                prediction,
                gzip=gzip,
                forms=self._forms,
                head=head,
            )
            exchange.begin([bodies[at] for at in positions])

    def _rows(self, id: int, entries: list[Entry]) -> None:
        """Answer requests of a form."""
        form = self._forms.find(id)
        if form is None:
            ask_again(self._link, [entry.id for entry in entries])
            return
        callers, contents = self._rest_callers(entries)
        for positions in form.alike(contents):
            some = [callers[at] for at in positions]
            exchange = RowsExchange(self._rest_carrier, some, form, self._forms)
            exchange.begin([contents[at] for at in positions])

    def _rest_callers(self, entries: list[Entry]) -> tuple[list[Caller], list[bytes]]:
        """Return those who get a place, and their bodies; refuse the others."""
        seconds = self._rest_seconds
        deadline = time.monotonic() + seconds if seconds > 0 else NO_DEADLINE
        carrier = self._rest_carrier
        entries, refused = _admitted(carrier, entries)
        if refused:
            answer_http(self._link, refused, failed(carrier.admission.refusal()))
        return [Caller(entry.id, deadline) for entry in entries], [
            entry.content for entry in entries
        ]

    def _look(self, id: int, method: str, path: str, headers: dict[bytes, bytes]) -> None:
        """Answer what takes no model's run."""
        try:
            response = self._rest.answer_unread(method, path, headers)
            if response is None:
                response = self._rest.look(method, path)
        except Exception as error:
            response = failed(error)
        answer_http(self._link, [id], response)


def _alike(method: grpc_api.Method | rest_methods.Method, contents: list[bytes]) -> list[list[int]]:
    """Return positions of requests in groups, each of which can be read together."""
    return _each(contents) if len(contents) == 1 or not method.alike else method.alike(contents)


def _each(contents: list[bytes]) -> list[list[int]]:
    return [[position] for position in range(len(contents))]


def _admitted(carrier: Carrier, entries: list[Entry]) -> tuple[list[Entry], list[int]]:
    """Return those of some requests that got a place, and the ids of the others."""
    count = carrier.admission.take(len(entries))
    return entries[:count], [entry.id for entry in entries[count:]]


class _Reload:
    """A request to replace the list of models."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._gone = False

    def run(self, body: bytes) -> Message:
        """Do it, and wait for the new models while somebody waits for the answer."""
        request = model_management_pb2.ReloadConfigRequest.FromString(body)
        return grpc_api.reload(self._models, request, lambda: self._gone)

    def cancel(self, _ids: set[int]) -> None:
        """End the wait."""
        self._gone = True
        self._models.wake()
