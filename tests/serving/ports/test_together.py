"""Requests that come together are read, run and answered as one, and each has its own answer.

The test is the front end here: it says what comes together.
"""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import Message
from PIL import Image
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.config import model_server_config_pb2

from serving import config, metrics
from serving.batching.parameters import BatchingConfig, BatchingParameters
from serving.batching.scheduler import BatchScheduler
from serving.budget import Budget
from serving.errors import Code
from serving.models.registry import Models
from serving.models.version import LoadOptions, State
from serving.ports.native.frames import ENTRY, HEADER, NO_DEADLINE, Kind, entries, pack
from serving.ports.native.server import NativePorts
from tests.serving.batching.doubler import LONG_MICROS
from tests.serving.conftest import predict_request
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("only_native")

PREDICT = b"/tensorflow.serving.PredictionService/Predict"
REST = b"POST /v1/models/%s:predict"


class Program:
    """The front end's end of both sockets, in the place of the program."""

    path = "the test"

    def __init__(self) -> None:
        self.small, self.here = socket.socketpair()
        self.large, self.other = socket.socketpair()
        self.here.settimeout(30)

    def wait(self, _seconds: float) -> int:
        return 0


class Asker:
    """Sends frames of many requests, and collects the answers by id."""

    def __init__(self, ports: NativePorts, program: Program, budget: Budget) -> None:
        self.ports = ports
        self.budget = budget
        self._socket = program.here
        self._last = 0
        self.forms: dict[int, dict[str, Any]] = {}
        """What was told of bodies that may come as numbers, by id."""
        self.again: list[int] = []
        """Ids of the requests that are to come as they are."""

    def send(
        self, head: bytes, contents: Sequence[bytes], kind: int = Kind.GRPC, status: int = 0
    ) -> list[int]:
        """Send requests as one frame; return their ids."""
        ids = list(range(self._last + 1, self._last + 1 + len(contents)))
        self._last += len(contents)
        requests = zip(ids, contents, strict=True)
        self._socket.sendall(b"".join(pack(kind, status, head, requests, NO_DEADLINE)))
        return ids

    def cancel(self, *ids: int) -> None:
        gone = ((id, b"") for id in ids)
        self._socket.sendall(b"".join(pack(Kind.CANCEL, 0, b"", gone, NO_DEADLINE)))

    def answers(self, count: int) -> dict[int, tuple[int, bytes]]:
        """Return status and body of so many answers, by id."""
        found: dict[int, tuple[int, bytes]] = {}
        while len(found) < count:
            kind, status, head_size, size = HEADER.unpack(self._received(HEADER.size))
            head = self._received(head_size)
            block = self._received(size)
            if kind == Kind.FORM:
                [told] = entries(memoryview(block))
                self.forms[status] = json.loads(told.content) | {"head": head}
                continue
            assert kind in (Kind.GRPC_ANSWER, Kind.HTTP_ANSWER, Kind.AGAIN)
            for id, _, content in entries(memoryview(block)):
                assert id not in found
                if kind == Kind.AGAIN:
                    self.again.append(id)
                found[id] = status, content
        return found

    def _received(self, size: int) -> bytes:
        return self._socket.recv(size, socket.MSG_WAITALL) if size else b""

    def ask(
        self, head: bytes, contents: Sequence[bytes], kind: int = Kind.GRPC, status: int = 0
    ) -> list[Any]:
        """Return the answer to each request that is sent together with the others."""
        ids = self.send(head, contents, kind, status)
        found = self.answers(len(ids))
        self.await_end()
        return [found[id] for id in ids]

    def await_end(self) -> None:
        """Wait until nothing is held for any request: its answer may be here a moment earlier."""
        carriers = self.ports._grpc_carrier, self.ports._rest_carrier
        eventually(
            lambda: (
                not (
                    self.ports._under_way
                    or self.budget.taken
                    or any(carrier.admission._taken for carrier in carriers)
                )
            )
        )


Asking = Callable[..., Asker]


@pytest.fixture
def asking(models: Path) -> Iterator[Asking]:
    """Serve a model, batching."""
    opened: list[tuple[NativePorts, Models]] = []

    def start(
        kind: str, parameters: BatchingParameters | None = None, *flags: str, memory: int = 0
    ) -> Asker:
        scheduler = BatchScheduler(2)
        batching = BatchingConfig(parameters or BatchingParameters())
        served = Models(LoadOptions(batching=batching, batch_scheduler=scheduler))
        listed = model_server_config_pb2.ModelServerConfig()
        listed.model_config_list.config.add(
            name=kind, base_path=str(models / "base" / kind), model_platform="tensorflow"
        )
        base = models / "base" / kind
        base.mkdir(parents=True, exist_ok=True)
        if not (base / "1").exists():
            (base / "1").symlink_to(models / kind)
        served.replace(listed)
        served.wait_until_available([kind])
        program, budget = Program(), Budget(memory)
        given = config.parse(["--model_base_path=x", "--enable_batching", *flags]).config
        ports = NativePorts(program, given, served, scheduler, budget, "", lambda: None)  # type: ignore[arg-type]
        ports._link.start()
        opened.append((ports, served))
        return Asker(ports, program, budget)

    yield start
    for ports, served in opened:
        ports._stopping = True
        ports._link.close()
        served.stop()


def grpc_requests(numbers: Sequence[float], name: str = "half_plus_two") -> list[bytes]:
    """A request for each number, of 20 equal values: long enough for its form to be known."""
    return [
        serialised(predict_request(name, x=np.full((1, 20), number, np.float32)))
        for number in numbers
    ]


def serialised(message: Message) -> bytes:
    content: bytes = message.SerializeToString()
    return content


def values(answers: Sequence[tuple[int, bytes]]) -> list[float]:
    found = []
    for status, body in answers:
        assert status == 0, body
        output = predict_pb2.PredictResponse.FromString(body).outputs["y"].float_val
        assert len(output) == 20
        found.append(output[0])
    return found


def runs() -> int:
    return metrics.WRAPPED_RUN_COUNT._values.get((), 0)


def counted(name: str, status: str = "OK") -> int:
    return metrics.REQUEST_COUNT._values.get((name, status), 0)


def test_calls_that_come_together_run_as_one_and_each_has_its_own_answer(asking: Asking) -> None:
    asker = asking("half_plus_two")
    assert values(asker.ask(PREDICT, grpc_requests([0]))) == [2]
    before, ok = runs(), counted("half_plus_two")
    numbers = list(range(1, 41))
    answers = asker.ask(PREDICT, grpc_requests(numbers))
    assert values(answers) == [number / 2 + 2 for number in numbers]
    assert runs() == before + 1
    assert counted("half_plus_two") == ok + 40
    assert asker.budget.taken == 0
    assert not asker.ports._under_way
    assert asker.ports._grpc_carrier.admission.take(10**6) >= 1000, "all places are free"


def test_calls_of_several_forms_are_told_apart(asking: Asking) -> None:
    asker = asking("half_plus_two")
    rows = [serialised(predict_request("half_plus_two", x=np.full((2, 10), n))) for n in range(3)]
    unknown = grpc_requests([1, 2], "none")
    for _ in range(2):  # The second time their forms are known.
        calls = [*grpc_requests([1, 2, 3]), *unknown, b"no message", *grpc_requests([4]), *rows]
        answers = asker.ask(PREDICT, calls)
        assert values([*answers[:3], answers[6]]) == [2.5, 3, 3.5, 4]
        assert [status for status, _ in answers[3:6]] == [
            Code.NOT_FOUND,
            Code.NOT_FOUND,
            Code.INTERNAL,
        ]
        # Doubles are no input of this model.
        assert {status for status, _ in answers[7:]} == {Code.INVALID_ARGUMENT}


def test_more_than_a_batch_holds_run_in_several(asking: Asking) -> None:
    asker = asking("half_plus_two", BatchingParameters(max_batch_size=3))
    asker.ask(PREDICT, grpc_requests([0]))
    before = runs()
    assert values(asker.ask(PREDICT, grpc_requests(range(8)))) == [n / 2 + 2 for n in range(8)]
    assert runs() == before + 3


def test_who_has_gone_while_it_waited_takes_nobody_along(asking: Asking) -> None:
    parameters = BatchingParameters(max_batch_size=4, batch_timeout_micros=LONG_MICROS)
    asker = asking("half_plus_two", parameters)
    asker.ask(PREDICT, grpc_requests([0, 0, 0, 0]))
    cancelled = counted("half_plus_two", "CANCELLED")
    # They would wait for a fourth.
    first, *others = asker.send(PREDICT, grpc_requests([1, 2, 3]))
    asker.cancel(first)
    found = asker.answers(2)
    assert values([found[id] for id in others]) == [3, 3.5]
    asker.await_end()
    assert counted("half_plus_two", "CANCELLED") == cancelled + 1


def test_without_places_or_memory_for_all_some_are_refused(asking: Asking) -> None:
    asker = asking("half_plus_two", None, "--grpc_max_threads=1", "--max_waiting_requests=2")
    asker.ask(PREDICT, grpc_requests([0]))
    answers = asker.ask(PREDICT, grpc_requests(range(5)))
    assert [status for status, _ in answers] == [0, 0, 0, Code.UNAVAILABLE, Code.UNAVAILABLE]
    asker = asking("half_plus_two", None, memory=1000)
    answers = asker.ask(PREDICT, grpc_requests(range(5)))
    assert {status for status, _ in answers} == {0, Code.RESOURCE_EXHAUSTED}
    assert asker.budget.taken == 0


def rest(name: str, bodies: Sequence[str | bytes], asker: Asker) -> list[tuple[int, Any]]:
    contents = [body if isinstance(body, bytes) else body.encode() for body in bodies]
    answers = asker.ask(REST % name.encode(), contents, Kind.HTTP)
    return [(status, json.loads(body)) for status, body in answers]


def test_bodies_that_come_together_run_as_one(asking: Asking) -> None:
    asker = asking("half_plus_two")
    before = runs()
    bodies = [json.dumps({"instances": [[n, n + 0.5], [n + 1, 7]]}) for n in range(20)]
    assert rest("half_plus_two", bodies, asker) == [
        (200, {"predictions": [[n / 2 + 2, n / 2 + 2.25], [n / 2 + 2.5, 5.5]]}) for n in range(20)
    ]
    assert runs() == before + 1
    assert asker.budget.taken == 0


@pytest.mark.parametrize(
    "bad",
    [
        ['{"instances": [[1, 2],[3}', '{"instances": [4]]}'],
        ['{"instances": [[1, 2]}', '{"instances": [[3, 4]]]}'],
        ['{"instances": [[1, "a"]]}', '{"instances": [[1, 2}'],
        ['{"instances": [[1, 2]],"inputs":[[3, 4]]}', '{"instances": [[1, 2]]], "x": [[3, 4]]}'],
        ['{"instances": [[1], [2, 3]]}', '{"instances": [[]]]}'],
    ],
)
def test_what_is_no_request_does_not_become_one_by_others(asking: Asking, bad: list[str]) -> None:
    asker = asking("half_plus_two")
    alone = [rest("half_plus_two", [body], asker)[0] for body in bad]
    assert {status for status, _ in alone} == {400}
    good = '{"instances": [[5, 6]]}'
    for bodies in (bad, [good, *bad, good], [*bad, good]):
        found = rest("half_plus_two", bodies, asker)
        expected = {good: (200, {"predictions": [[4.5, 5]]})}
        expected |= dict(zip(bad, alone, strict=True))
        assert found == [expected[body] for body in bodies]


def test_bodies_of_a_form_come_as_numbers_and_run_as_one(asking: Asking) -> None:
    asker = asking("half_plus_two")
    rows = [[1, 2, 3, 4], [5, 6, 7, 8.5]]
    body = json.dumps({"signature_name": "serving_default", "instances": rows})
    for _ in range(2):  # Told once.
        assert rest("half_plus_two", [body], asker)[0][0] == 200
    [(id, form)] = asker.forms.items()
    assert form == {
        "head": REST % b"half_plus_two",
        "prefix": '{"signature_name": "serving_default", "instances": [',
        "suffix": "]}",
        "shape": [4],
        "dtype": "float32",
    }
    before, ok = runs(), counted("half_plus_two")
    contents = [np.full(4, number, np.float32).tobytes() for number in range(20)]
    answers = asker.ask(b"", contents, Kind.ROWS, id)
    assert [json.loads(content)["predictions"] for _, content in answers] == [
        [[number / 2 + 2] * 4] for number in range(20)
    ]
    assert (runs(), counted("half_plus_two")) == (before + 1, ok + 20)
    # Those of other numbers of rows run together with them, but not as one request.
    [two] = asker.ask(b"", [np.zeros(8, np.float32).tobytes()], Kind.ROWS, id)
    assert json.loads(two[1])["predictions"] == [[2] * 4] * 2
    assert asker.budget.taken == 0
    assert not asker.ports._under_way


def test_a_form_that_is_not_known_is_asked_for_as_it_is(asking: Asking) -> None:
    asker = asking("half_plus_two")
    asker.ask(b"", [bytes(32)] * 3, Kind.ROWS, 5)
    assert asker.again == [1, 2, 3]


def test_a_form_is_good_for_one_version(asking: Asking, models: Path) -> None:
    asker = asking("half_plus_two")
    body = json.dumps({"instances": [[0.5] * 8]})
    assert rest("half_plus_two", [body], asker)[0][0] == 200
    [old] = asker.forms
    second = models / "base" / "half_plus_two" / "2"
    second.symlink_to(models / "half_plus_two")
    try:
        statuses = asker.ports._models.statuses
        eventually(
            lambda: (
                [v.number for v in statuses("half_plus_two") if v.state is State.AVAILABLE] == [2]
            )
        )
        asker.ask(b"", [bytes(32)] * 3, Kind.ROWS, old)
        assert len(asker.again) == 3
        assert asker.budget.taken == 0
        assert not asker.ports._under_way
        assert rest("half_plus_two", [body], asker)[0][0] == 200
        new = max(asker.forms)
        assert new > old
        [(status, _)] = asker.ask(b"", [bytes(32)], Kind.ROWS, new)
        assert (status, len(asker.again)) == (200, 3)
    finally:
        second.unlink()


@pytest.mark.parametrize(
    "body",
    [
        '{"instances": [1.5, 2]}',
        '{"instances": [[1, 2, 3, 4, 5, 6, 7, NaN]]}',
        '{"x": [1], "instances": [[1, 2, 3, 4, 5, 6, 7, 8]]}',
        '{"instances": [[1, 2, 3, 4, 5, 6, 7, 8]], "x": [1]}',
        '{"signature_name": "serving\\u005fdefault", "instances": [[1, 2, 3, 4, 5, 6, 7, 8]]}',
        '{"inputs": {"x": [[1, 2, 3, 4, 5, 6, 7, 8]]}}',
        '{"instances": [{"x": [1, 2, 3, 4, 5, 6, 7, 8]}]}',
        '{"instances": [[1, 2, 3, 4, 5, 6, 7, 8]], "instances": [[2]]}',
    ],
)
def test_what_is_not_all_one_list_of_numbers_has_no_form(asking: Asking, body: str) -> None:
    asker = asking("half_plus_two")
    assert rest("half_plus_two", [body], asker)[0][0] == 200
    assert not asker.forms


def test_what_fails_in_a_batch_fails_nobody_else(asking: Asking) -> None:
    asker = asking("mnist")
    buffer = io.BytesIO()
    Image.new("L", (28, 28)).save(buffer, "PNG")
    calls = [
        serialised(predict_request("mnist", "image_bytes", image_bytes=np.array([picture], object)))
        for picture in (buffer.getvalue(), b"no picture", buffer.getvalue())
    ]
    first, bad, last = asker.ask(PREDICT, calls)
    assert (first[0], bad[0], last[0]) == (0, Code.INVALID_ARGUMENT, 0)
    assert b"Unknown image file format" in bad[1]
    assert asker.budget.taken == 0


def test_an_entry_ends_where_the_next_begins() -> None:
    parts = pack(Kind.GRPC, 0, b"head", [(1, b"ab"), (2, b""), (3, b"c")], 5)
    block = b"".join(parts[2:])
    assert HEADER.unpack(parts[0]) == (Kind.GRPC, 0, 4, len(block))
    assert entries(memoryview(block)) == [(1, 5, b"ab"), (2, 5, b""), (3, 5, b"c")]
    assert len(block) == 3 * ENTRY.size + 3
