"""Server-side batching: which requests run together, who waits, who is refused and how.

The queue alone first, with a function in the model's place that tells what it was given and can be
held up; then a server with real models over gRPC and REST.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.batching.parameters import BatchingParameters, read
from serving.batching.queue import BatchQueue, BatchScheduler, Parts
from serving.errors import InvalidArgument, ServingError
from tests.serving.conftest import predict_request, predict_stub, served, slow_request
from tests.serving.models.test_versions import eventually
from tests.serving.test_process import run
from tests.serving_fixtures import ModelServer, running_server

LONG_MICROS = 60_000_000
"""Longer than any of these tests: what ends before that did not wait for its end."""


class Doubler:
    """Stands for a model: doubles x, remembers the rows of each run, stops while held."""

    def __init__(self) -> None:
        self.runs: list[list[Any]] = []
        self.limits: list[int] = []
        self.started = threading.Semaphore(0)
        self._go_on = threading.Event()
        self._go_on.set()

    def __call__(
        self, inputs: Parts, fetch: Sequence[str], milliseconds: int
    ) -> Mapping[str, np.ndarray]:
        x = np.concatenate(inputs["x"])
        self.runs.append(x.ravel().tolist())
        self.limits.append(milliseconds)
        self.started.release()
        assert self._go_on.wait(60)
        if (x < 0).any():
            raise InvalidArgument("negative")
        outputs = {"y": 2 * x, "z": 3 * x, "scalar": np.float32(1), "short": x[1:]}
        return {name: np.asarray(outputs[name]) for name in fetch}

    def hold(self) -> None:
        self._go_on.clear()

    def go_on(self) -> None:
        self._go_on.set()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def rows(*values: float) -> dict[str, np.ndarray]:
    return {"x": np.array(values, np.float32).reshape(-1, 1)}


@contextmanager
def busy(
    model: Doubler, queue: BatchQueue, threads: ThreadPoolExecutor
) -> Iterator[Future[dict[str, np.ndarray]]]:
    """Keep the only thread busy with a request of one row, 100."""
    model.hold()
    first = threads.submit(queue.run, rows(100), ["y"])
    try:
        assert model.started.acquire(timeout=30)
        yield first
    finally:
        model.go_on()


def refused(call: Callable[[], Any]) -> tuple[str, str]:
    with pytest.raises(ServingError) as caught:
        call()
    return caught.value.code.name, caught.value.message


def test_what_waits_for_the_thread_runs_as_one_and_each_gets_its_own(
    threads: ThreadPoolExecutor,
) -> None:
    model = Doubler()
    queue = BatchScheduler(1).queue(model, BatchingParameters())
    with busy(model, queue, threads) as first:
        waiting = [threads.submit(queue.run, rows(n, n + 0.5), ["y"]) for n in range(5)]
        eventually(lambda: queue.waiting and queue.waiting[0].rows == 10)
    assert first.result(30)["y"].tolist() == [[200]]
    for n, future in enumerate(waiting):
        assert future.result(30)["y"].tolist() == [[2 * n], [2 * n + 1]]
    assert [len(each) for each in model.runs] == [1, 10]


def test_a_lone_request_waits_for_nobody_and_runs_in_its_own_thread() -> None:
    seen: list[int] = []

    def model(inputs: Parts, fetch: Sequence[str], _: int) -> Mapping[str, np.ndarray]:
        seen.append(threading.get_ident())
        return {"y": inputs["x"][0]}

    queue = BatchScheduler(1).queue(model, BatchingParameters())
    assert queue.run(rows(1), ["y"])["y"].tolist() == [[1]]
    assert seen == [threading.get_ident()]


def test_a_full_batch_runs_before_its_time_is_up(threads: ThreadPoolExecutor) -> None:
    model = Doubler()
    parameters = BatchingParameters(max_batch_size=4, batch_timeout_micros=LONG_MICROS)
    queue = BatchScheduler(1).queue(model, parameters)
    futures = [threads.submit(queue.run, rows(n), ["y"]) for n in range(4)]
    assert [future.result(30)["y"].item() for future in futures] == [0, 2, 4, 6]
    assert [sorted(each) for each in model.runs] == [[0, 1, 2, 3]]


def test_a_batch_that_no_other_joins_runs_when_its_time_is_up() -> None:
    model = Doubler()
    queue = BatchScheduler(1).queue(model, BatchingParameters(batch_timeout_micros=20_000))
    assert queue.run(rows(1), ["y"])["y"].item() == 2


def test_a_request_that_no_longer_fits_closes_the_batch(threads: ThreadPoolExecutor) -> None:
    model = Doubler()
    parameters = BatchingParameters(max_batch_size=3, batch_timeout_micros=LONG_MICROS)
    queue = BatchScheduler(1).queue(model, parameters)
    first = threads.submit(queue.run, rows(1, 2), ["y"])
    eventually(lambda: queue.waiting)
    second = threads.submit(queue.run, rows(3, 4, 5), ["y"])
    assert first.result(30)["y"].ravel().tolist() == [2, 4]
    assert second.result(30)["y"].ravel().tolist() == [6, 8, 10]
    assert model.runs == [[1, 2], [3, 4, 5]]


def test_queues_take_turns_for_the_shared_thread(threads: ThreadPoolExecutor) -> None:
    """A busy model with many full batches must not make another wait for all of them."""
    model, scheduler = Doubler(), BatchScheduler(1)
    one = scheduler.queue(model, BatchingParameters(max_batch_size=1))
    other = scheduler.queue(model, BatchingParameters(max_batch_size=1))
    with busy(model, one, threads):
        futures = []
        for n in range(4):
            futures.append(threads.submit(one.run, rows(n), ["y"]))
            eventually(lambda n=n: len(one.waiting) == n + 1)
        futures.append(threads.submit(other.run, rows(50), ["y"]))
        eventually(lambda: other.waiting)
    for future in futures:
        future.result(30)
    assert model.runs.index([50]) <= 2


def test_as_many_batches_run_side_by_side_as_there_are_threads(
    threads: ThreadPoolExecutor,
) -> None:
    model = Doubler()
    queue = BatchScheduler(2).queue(model, BatchingParameters(max_batch_size=1))
    model.hold()
    futures = [threads.submit(queue.run, rows(n), ["y"]) for n in range(3)]
    try:
        assert model.started.acquire(timeout=30) and model.started.acquire(timeout=30)
        eventually(lambda: len(queue.waiting) == 1)
        assert not model.started.acquire(blocking=False)
    finally:
        model.go_on()
    assert sorted(future.result(30)["y"].item() for future in futures) == [0, 2, 4]


def test_outputs_that_only_some_want_do_not_part_a_batch(threads: ThreadPoolExecutor) -> None:
    model = Doubler()
    queue = BatchScheduler(1).queue(model, BatchingParameters())
    with busy(model, queue, threads):
        one = threads.submit(queue.run, rows(1), ["y"])
        other = threads.submit(queue.run, rows(2), ["z"])
        eventually(lambda: queue.waiting and queue.waiting[0].rows == 2)
    assert {name: value.item() for name, value in one.result(30).items()} == {"y": 2}
    assert {name: value.item() for name, value in other.result(30).items()} == {"z": 6}
    assert len(model.runs) == 2


def test_a_full_queue_refuses(threads: ThreadPoolExecutor) -> None:
    model = Doubler()
    parameters = BatchingParameters(max_batch_size=2, max_enqueued_batches=2)
    queue = BatchScheduler(1).queue(model, parameters)
    with busy(model, queue, threads):
        futures = [threads.submit(queue.run, rows(n, n), ["y"]) for n in range(2)]
        eventually(lambda: len(queue.waiting) == 2)
        assert refused(lambda: queue.run(rows(1), ["y"])) == (
            "UNAVAILABLE",
            "The batch scheduling queue to which this task was submitted is full; currently 2 "
            "batches enqueued and max_enqueued_batches is 2",
        )
    assert sorted(future.result(30)["y"][0].item() for future in futures) == [0, 2]
    assert queue.run(rows(1), ["y"])["y"].item() == 2, "it takes requests again"


def test_time_in_the_queue_counts(threads: ThreadPoolExecutor) -> None:
    model = Doubler()
    queue = BatchScheduler(1).queue(model, BatchingParameters(max_batch_size=1))
    with busy(model, queue, threads):
        late = threads.submit(queue.run, rows(1), ["y"], 20)
        eventually(lambda: queue.waiting)
        deadline = queue.waiting[0].tasks[0].deadline
        eventually(lambda: deadline < time.monotonic())
    assert refused(lambda: late.result(30)) == (
        "RESOURCE_EXHAUSTED",
        "Run() timeout exceeded while waiting in batching queue",
    )
    assert model.runs == [[100]], "nothing was computed for it"


def test_the_most_patient_request_sets_the_time_limit(threads: ThreadPoolExecutor) -> None:
    model = Doubler()
    queue = BatchScheduler(1).queue(model, BatchingParameters())
    with busy(model, queue, threads):
        futures = [
            threads.submit(queue.run, rows(1), ["y"], milliseconds)
            for milliseconds in (50_000, 90_000)
        ]
        eventually(lambda: queue.waiting and queue.waiting[0].rows == 2)
    for future in futures:
        future.result(30)
    assert model.limits[0] == 0, "no limit stays none"
    assert 50_000 < model.limits[1] <= 90_000


def test_one_bad_request_fails_its_batch_and_no_other(threads: ThreadPoolExecutor) -> None:
    model = Doubler()
    queue = BatchScheduler(1).queue(model, BatchingParameters())
    with busy(model, queue, threads) as first:
        batch = [threads.submit(queue.run, rows(n), ["y"]) for n in (1, -1)]
        eventually(lambda: queue.waiting and queue.waiting[0].rows == 2)
    for future in batch:
        assert refused(lambda f=future: f.result(30)) == ("INVALID_ARGUMENT", "negative")
    assert first.result(30)["y"].item() == 200
    assert queue.run(rows(4), ["y"])["y"].item() == 8


def together(
    parameters: BatchingParameters, *requests: Mapping[str, np.ndarray]
) -> list[dict[str, np.ndarray] | tuple[str, str]]:
    """Run requests as one batch; return the answers or errors."""
    model = Doubler()
    queue = BatchScheduler(1).queue(model, parameters)
    with ThreadPoolExecutor(8) as threads:
        with busy(model, queue, threads):
            futures = []
            for position, request in enumerate(requests):
                futures.append(threads.submit(queue.run, request, ["y"]))
                eventually(lambda n=position: sum(len(b.tasks) for b in queue.waiting) == n + 1)
        answers: list[dict[str, np.ndarray] | tuple[str, str]] = []
        for future in futures:
            try:
                answers.append(future.result(30))
            except ServingError as error:
                answers.append((error.code.name, error.message))
    return answers


WIDE = {"x": np.array([[1, 2, 3]], np.float32)}
NARROW = {"x": np.array([[7, 8]], np.float32)}


def test_different_shapes_do_not_go_together_without_padding() -> None:
    answers = together(BatchingParameters(), WIDE, NARROW)
    assert answers[0] == answers[1]
    code, text = answers[0]  # type: ignore[misc]
    assert code == "FAILED_PRECONDITION"
    assert text.startswith(
        "Tensors with name 'x' from different tasks have different shapes and padding is turned off"
    )


def test_padding_repeats_the_first_element_of_the_shorter() -> None:
    wide, narrow = together(BatchingParameters(pad_variable_length_inputs=True), WIDE, NARROW)
    assert wide["y"].tolist() == [[2, 4, 6]]  # type: ignore[call-overload]
    assert narrow["y"].tolist() == [[14, 16, 14]]  # type: ignore[call-overload]


def test_different_types_do_not_go_together() -> None:
    answers = together(BatchingParameters(), WIDE, {"x": WIDE["x"].astype(np.float64)})
    assert [code for code, _ in answers] == ["INVALID_ARGUMENT"] * 2  # type: ignore[misc]


def test_a_batch_is_filled_up_to_an_allowed_size_and_nobody_sees_it() -> None:
    model = Doubler()
    parameters = BatchingParameters(max_batch_size=8, allowed_batch_sizes=(4, 8))
    queue = BatchScheduler(1).queue(model, parameters)
    assert queue.run(rows(1, 2, 3), ["y"])["y"].ravel().tolist() == [2, 4, 6]
    assert queue.run({"x": np.zeros((0, 1), np.float32)}, ["y"])["y"].shape == (0, 1)
    assert queue.run(rows(*range(5)), ["y"])["y"].ravel().tolist() == [0, 2, 4, 6, 8]
    assert [len(each) for each in model.runs] == [4, 0, 8]
    assert model.runs[0][:3] == [1, 2, 3]


def test_large_requests_are_split_where_that_is_wanted() -> None:
    model = Doubler()
    parameters = BatchingParameters(
        max_batch_size=10, enable_large_batch_splitting=True, max_execution_batch_size=4
    )
    queue = BatchScheduler(1).queue(model, parameters)
    assert queue.run(rows(*range(10)), ["y"])["y"].ravel().tolist() == list(range(0, 20, 2))
    assert [len(each) for each in model.runs] == [4, 4, 2]


@pytest.mark.parametrize(
    ("inputs", "fetch", "code", "text"),
    [
        (
            rows(*range(4)),
            "y",
            "INVALID_ARGUMENT",
            "Task size 4 is larger than maximum input batch size 3",
        ),
        (
            {"x": np.float32(1)},
            "y",
            "INVALID_ARGUMENT",
            "Batching Run() input tensors must have at least one dimension",
        ),
        (
            rows(1) | {"w": np.zeros(2, np.float32)},
            "y",
            "INVALID_ARGUMENT",
            "Batching Run() input tensors must have equal 0th-dimension size",
        ),
        (rows(1), "scalar", "FAILED_PRECONDITION", "Batched output tensor has 0 dimensions"),
        (
            rows(1),
            "short",
            "FAILED_PRECONDITION",
            "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension "
            "sizes of the input tensors",
        ),
    ],
)
def test_what_cannot_be_batched_is_refused(
    inputs: dict[str, np.ndarray], fetch: str, code: str, text: str
) -> None:
    inputs = {name: np.asarray(value) for name, value in inputs.items()}
    queue = BatchScheduler(1).queue(Doubler(), BatchingParameters(max_batch_size=3))
    assert refused(lambda: queue.run(inputs, [fetch])) == (code, text)
    assert queue.run(rows(1), ["y"])["y"].item() == 2


def parameters_file(folder: Path, text: str) -> Path:
    path = folder / "batching.pbtxt"
    path.write_text(text)
    return path


def test_every_parameter_is_read(tmp_path: Path) -> None:
    path = parameters_file(
        tmp_path,
        """
        max_batch_size { value: 64 }
        batch_timeout_micros { value: 500 }
        max_enqueued_batches { value: 20 }
        num_batch_threads { value: 3 }
        thread_pool_name { value: "threads" }
        allowed_batch_sizes: 8
        allowed_batch_sizes: 32
        pad_variable_length_inputs: true
        enable_large_batch_splitting { value: true }
        max_execution_batch_size { value: 32 }
        """,
    )
    assert read(str(path)) == BatchingParameters(
        max_batch_size=64,
        batch_timeout_micros=500,
        max_enqueued_batches=20,
        num_batch_threads=3,
        allowed_batch_sizes=(8, 32),
        pad_variable_length_inputs=True,
        enable_large_batch_splitting=True,
        max_execution_batch_size=32,
        thread_pool_name="threads",
    )
    path.write_text("")
    assert read(str(path)) == BatchingParameters()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "max_batch_size { value: 32 } allowed_batch_sizes: 8 allowed_batch_sizes: 16",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 16; "
            "expected 32",
        ),
        (
            "max_batch_size { value: 8 } allowed_batch_sizes: 8 allowed_batch_sizes: 8",
            "allowed_batch_sizes entries must be monotonically increasing",
        ),
        ("num_batch_threads { value: 0 }", "num_batch_threads must be at least 1; was 0"),
        ("max_batch_size: 3", "Invalid protobuf file: "),
    ],
)
def test_bad_parameters_are_a_start_failure(tmp_path: Path, text: str, message: str) -> None:
    path = parameters_file(tmp_path, text)
    done = run("--model_base_path=/m", "--enable_batching", f"--batching_parameters_file={path}")
    assert done.returncode == 255
    assert "Failed to start server. Error: INVALID_ARGUMENT: " + message in done.stdout


def test_parameters_without_the_flag_are_a_start_failure(tmp_path: Path) -> None:
    done = run("--model_base_path=/m", "--batching_parameters_file=/x")
    assert done.returncode == 255
    assert (
        "server_options.batching_parameters_file is set without setting "
        "server_options.enable_batching to true." in done.stdout
    )


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """Batches of two, for which the first waits long; one waiting batch; one thread."""
    folder = tmp_path_factory.mktemp("batching")
    base = served(models, folder / "kinds", "kinds", 1)
    path = parameters_file(
        folder,
        f"max_batch_size {{ value: 2 }} batch_timeout_micros {{ value: {LONG_MICROS} }}"
        "num_batch_threads { value: 1 } max_enqueued_batches { value: 1 }",
    )
    flags = ["--enable_batching", f"--batching_parameters_file={path}"]
    with running_server(base, "kinds", flags) as running:
        yield running


def rest(server: ModelServer, body: dict[str, Any]) -> tuple[int, Any]:
    url = f"{server.rest_url}/v1/models/kinds:predict"
    try:
        with urllib.request.urlopen(url, json.dumps(body).encode(), timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)["error"]


def echo(*values: float) -> Any:
    return predict_request("kinds", "echo_float32", x=np.array([values], np.float32))


def outcome(future: Any) -> tuple[str, str]:
    error = future.exception(timeout=60)
    return ("OK", "") if error is None else (error.code().name, error.details())


def test_requests_of_both_ports_meet_in_one_batch(
    server: ModelServer, threads: ThreadPoolExecutor
) -> None:
    """Neither would be answered in time without the other; the JSON one may be the late one."""
    future = predict_stub(server).Predict.future(echo(1.5), timeout=60)
    status, answer = rest(server, {"signature_name": "echo_float32", "instances": [[2.5]]})
    assert (status, answer) == (200, {"predictions": [[2.5]]})
    assert future.result().outputs["y"].float_val == [1.5]


def test_a_batch_of_different_shapes_fails_as_a_whole(server: ModelServer) -> None:
    stub = predict_stub(server)
    futures = [stub.Predict.future(echo(*values), timeout=60) for values in ((1, 2), (1, 2, 3))]
    for future in futures:
        code, text = outcome(future)
        assert code == "FAILED_PRECONDITION"
        assert "have different shapes and padding is turned off" in text


def test_too_many_rows_are_refused_on_both_ports(server: ModelServer) -> None:
    text = "Task size 3 is larger than maximum input batch size 2"
    request = predict_request("kinds", "echo_float32", x=np.zeros((3, 1), np.float32))
    assert outcome(predict_stub(server).Predict.future(request)) == ("INVALID_ARGUMENT", text)
    body = {"signature_name": "echo_float32", "instances": [[1.0], [2.0], [3.0]]}
    assert rest(server, body) == (400, text)


def test_overload_is_an_answer_on_both_ports(models: Path, tmp_path: Path) -> None:
    base = served(models, tmp_path / "kinds", "kinds", 1)
    path = parameters_file(
        tmp_path,
        "max_batch_size { value: 1 } num_batch_threads { value: 1 } "
        "max_enqueued_batches { value: 1 }",
    )
    flags = [
        "--enable_batching",
        f"--batching_parameters_file={path}",
        "--rest_api_timeout_in_ms=50",
    ]
    with running_server(base, "kinds", flags) as server:
        stub = predict_stub(server)
        request = slow_request(server, seconds=1)
        # One runs, one waits, and there is no room for the third.
        futures = [stub.Predict.future(request, timeout=60) for _ in range(3)]
        text = (
            "The batch scheduling queue to which this task was submitted is full; currently 1 "
            "batches enqueued and max_enqueued_batches is 1"
        )
        steps = request.inputs["steps"].int_val[0]
        slow = {"signature_name": "slow", "instances": [steps]}
        eventually(lambda: any(future.done() for future in futures))
        assert rest(server, slow) == (503, text)
        # Another signature's queue has room, but the only thread is busy for longer than this.
        body = {"signature_name": "echo_float32", "instances": [[1.0]]}
        assert rest(server, body) == (429, "Run() timeout exceeded while waiting in batching queue")
        outcomes = sorted(outcome(future) for future in futures)
        assert outcomes == [("OK", ""), ("OK", ""), ("UNAVAILABLE", text)]


def test_only_models_with_parameters_of_their_own_are_batched(models: Path, tmp_path: Path) -> None:
    """`total` has a scalar output: it only works unbatched."""
    request = predict_request("kinds", "total", x=np.ones(3, np.float32))
    base = tmp_path / "kinds"
    for number, text in ((1, None), (2, "max_batch_size { value: 2 }")):
        version = base / str(number)
        version.mkdir(parents=True)
        for child in (models / "kinds").iterdir():
            (version / child.name).symlink_to(child)
        if text:
            (version / "batching_params.pbtxt").write_text(text)
    config = tmp_path / "models.pbtxt"
    config.write_text(
        f'model_config_list {{ config {{ name: "kinds" base_path: "{base}" '
        'model_platform: "tensorflow" model_version_policy { all {} } } }'
    )
    flags = [
        "--enable_batching",
        "--enable_per_model_batching_parameters",
        f"--model_config_file={config}",
    ]
    with running_server(base, "kinds", flags) as server:
        stub = predict_stub(server)
        request.model_spec.version.value = 1
        assert stub.Predict(request).outputs["scalar"].float_val == [3]
        request.model_spec.version.value = 2
        text = "Task size 3 is larger than maximum input batch size 2"
        # The second version may take a moment longer to load.
        eventually(lambda: outcome(stub.Predict.future(request)) == ("INVALID_ARGUMENT", text))
