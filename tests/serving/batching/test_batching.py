"""Server-side batching in a server with real models, over gRPC and REST."""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.serving.asking import http_call, outcome, statuses
from tests.serving.batching.conftest import parameters_file
from tests.serving.batching.doubler import LONG_MICROS
from tests.serving.conftest import predict_request, predict_stub, served, slow_request
from tests.serving.predict.test_examples import classification, example, regression
from tests.serving_fixtures import ModelServer, running_server
from tests.waiting import eventually


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


def test_requests_of_both_ports_meet_in_one_batch(server: ModelServer) -> None:
    """Neither would be answered in time without the other; the JSON one may be the late one."""
    future = predict_stub(server).Predict.future(echo(1.5), timeout=60)
    status, answer = rest(server, {"signature_name": "echo_float32", "instances": [[2.5]]})
    assert (status, answer) == (200, {"predictions": [[2.5]]})
    assert future.result().outputs["y"].float_val == [1.5]


def test_requests_with_examples_wait_for_their_batch_without_a_thread(
    models: Path, tmp_path: Path
) -> None:
    """All of them answer together or never: none may keep a port's only thread."""
    base = served(models, tmp_path / "examples", "examples", 1)
    path = parameters_file(
        tmp_path,
        f"max_batch_size {{ value: 4 }} batch_timeout_micros {{ value: {LONG_MICROS} }}",
    )
    flags = ["--enable_batching", f"--batching_parameters_file={path}"]
    flags += ["--grpc_max_threads=1", "--rest_api_num_threads=1"]
    with running_server(base, "examples", flags) as server, ThreadPoolExecutor(8) as threads:
        stub = predict_stub(server)

        def over_rest(method: str, signature: str, x: float) -> Any:
            body = {"signature_name": signature, "examples": [{"x": x}]}
            status, text = http_call(server, "POST", f"/v1/models/examples:{method}", body)
            assert status == 200, text
            return json.loads(text)["results"]

        classified = [
            stub.Classify.future(classification("", example(x=x)), timeout=60) for x in (0.25, 0.5)
        ]
        regressed = [
            stub.Regress.future(regression("regress", example(x=x)), timeout=60) for x in (1.5, 2.5)
        ]
        rest_classified = [
            threads.submit(over_rest, "classify", "serving_default", x) for x in (0.75, 1.0)
        ]
        rest_regressed = [threads.submit(over_rest, "regress", "regress", x) for x in (3.5, 4.5)]
        found = [
            [(c.label, c.score) for c in one.classes]
            for future in classified
            for one in future.result().result.classifications
        ]
        assert found == [[("pos", 0.25), ("neg", 0.75)], [("pos", 0.5), ("neg", 0.5)]]
        found = [r.value for future in regressed for r in future.result().result.regressions]
        assert found == [1.5, 2.5]
        assert [future.result(60) for future in rest_classified] == [
            [[["pos", 0.75], ["neg", 0.25]]],
            [[["pos", 1.0], ["neg", 0.0]]],
        ]
        assert [future.result(60) for future in rest_regressed] == [[3.5], [4.5]]


def test_a_batch_of_different_shapes_runs_apart(server: ModelServer) -> None:
    stub = predict_stub(server)
    futures = [stub.Predict.future(echo(*values), timeout=60) for values in ((1, 2), (1, 2, 3))]
    values = [list(future.result().outputs["y"].float_val) for future in futures]
    assert values == [[1, 2], [1, 2, 3]]


def test_a_bad_picture_in_a_batch_fails_no_other(models: Path, tmp_path: Path) -> None:
    base = served(models, tmp_path / "mnist", "mnist", 1)
    path = parameters_file(
        tmp_path, f"max_batch_size {{ value: 5 }} batch_timeout_micros {{ value: {LONG_MICROS} }}"
    )
    buffer = io.BytesIO()
    Image.new("L", (28, 28)).save(buffer, "PNG")
    pictures = [buffer.getvalue()] * 4
    pictures.insert(2, b"no picture")
    with running_server(
        base, "mnist", ["--enable_batching", f"--batching_parameters_file={path}"]
    ) as server:
        stub = predict_stub(server)
        futures = [
            stub.Predict.future(
                predict_request("mnist", "image_bytes", image_bytes=np.array([picture], object)),
                timeout=60,
            )
            for picture in pictures
        ]
        outcomes = [outcome(future) for future in futures]
        code, text = outcomes.pop(2)
        assert code == "INVALID_ARGUMENT" and "Unknown image file format" in text
        assert outcomes == 4 * [("OK", "")]


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
        request = slow_request(server, seconds=3)
        # One runs, one waits, and there is no room for the third.
        futures = [stub.Predict.future(request, timeout=100) for _ in range(3)]
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
        status, late = rest(server, body)
        assert (status, late[:41]) == (504, "The request has waited for its turn until")
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
        eventually(lambda: statuses(server) == {2: "AVAILABLE", 1: "AVAILABLE"})
        request.model_spec.version.value = 1
        assert stub.Predict(request).outputs["scalar"].float_val == [3]
        request.model_spec.version.value = 2
        text = "Task size 3 is larger than maximum input batch size 2"
        assert outcome(stub.Predict.future(request)) == ("INVALID_ARGUMENT", text)
