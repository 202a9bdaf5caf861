"""Metrics for Prometheus: names, labels, and where they are shown."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.metrics import Counter, Histogram, exponential
from tests.serving.asking import http_call
from tests.serving.conftest import predict_request, predict_stub, served
from tests.serving.predict.test_examples import REGRESS, classification, example, multi, regression
from tests.serving_fixtures import (
    ModelServer,
    failed_start,
    running_server,
)
from tests.waiting import eventually

PATH = "/monitoring/prometheus/metrics"


def scrape(server: ModelServer, path: str = PATH) -> dict[str, dict[tuple[str, ...], float]]:
    """Return sample name, without the prefix, to label values (but `le`) to value; last bucket."""
    status, text = http_call(server, "GET", path)
    assert status == 200
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(value for name, value in sample.labels.items() if name != "le")
            name = sample.name.removeprefix(":tensorflow:serving:")
            found.setdefault(name, {})[labels] = sample.value
    return found


@pytest.fixture(scope="module")
def monitored(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    folder = tmp_path_factory.mktemp("monitored")
    config = folder / "monitoring.config"
    config.write_text("prometheus_config { enable: true }")
    base = served(models, folder / "examples", "examples", 1)
    with running_server(base, "examples", [f"--monitoring_config_file={config}"]) as server:
        yield server


def test_requests_are_counted_by_model_and_status(monitored: ModelServer) -> None:
    stub = predict_stub(monitored)
    one = example(x=0.5)
    stub.Classify(classification("", one))
    stub.Regress(regression("regress", one))
    stub.MultiInference(multi(("regress", REGRESS), given=(one, one)))
    stub.Predict(
        predict_request("examples", "predict", inputs=np.array([one.SerializeToString()], object))
    )
    for name in ("examples", "made up"):
        with pytest.raises(grpc.RpcError):
            stub.Predict(predict_request(name, "nope"))
    body = {"examples": [{"x": 0.5}]}
    assert http_call(monitored, "POST", "/v1/models/examples:classify", body)[0] == 200
    assert http_call(monitored, "POST", "/v1/models/examples:PREDICT", {})[0] == 400

    def counted() -> bool:
        # A moment after the answers are here.
        found = scrape(monitored)
        counts = [
            sum(found.get(name, {}).values())
            for name in ("request_count_total", "request_latency_count")
        ]
        return counts[0] >= 8 and counts[1] >= 5

    eventually(counted)
    found = scrape(monitored)
    assert found["request_count_total"] == {
        ("examples", "OK"): 5,
        ("examples", "FAILED_PRECONDITION"): 1,
        ("examples", "INVALID_ARGUMENT"): 1,
        ("", "NOT_FOUND"): 1,
    }
    assert found["request_latency_count"] == {
        ("examples", "Classify", "GRPC"): 1,
        ("examples", "Regress", "GRPC"): 1,
        ("examples", "MultiInference", "GRPC"): 1,
        ("examples", "Predict", "GRPC"): 1,
        ("examples", "classify", "REST"): 1,
    }
    assert found["request_latency_bucket"] == found["request_latency_count"], "all below +Inf"
    assert found["runtime_latency_count"][("examples", "Classify", "TF1")] == 2
    assert found["request_latency_sum"][("examples", "Classify", "GRPC")] > 10, "microseconds"
    assert found["request_example_count_total"] == {("examples",): 2}
    path = str(monitored.base_path / "1")
    loads = found[":tensorflow:cc:saved_model:load_attempt_count_total"]
    assert loads == {(path, "success"): 1}


def test_the_text_is_as_tensorflow_serving_writes_it(monitored: ModelServer) -> None:
    http_call(monitored, "POST", "/v1/models/examples:classify", {"examples": [{"x": 0.5}]})
    connection = http.client.HTTPConnection("127.0.0.1", monitored.rest_port, timeout=60)
    connection.request("GET", PATH)
    response = connection.getresponse()
    lines = response.read().decode().splitlines()
    connection.close()
    assert response.getheader("Content-Type") == "text/plain"
    assert "# TYPE :tensorflow:serving:request_count counter" in lines
    assert "# TYPE :tensorflow:serving:request_latency histogram" in lines
    bucket = ':tensorflow:serving:request_latency_bucket{model_name="examples",API="classify",'
    limits = [line.split('le="')[1].split('"')[0] for line in lines if line.startswith(bucket)]
    assert limits[:4] == ["10", "18", "32.4", "58.32"]
    assert len(limits) == 34
    assert limits[-1] == "+Inf"


def test_labels_are_escaped_and_buckets_include_their_bound() -> None:
    counter = Counter("/a/b", "name")
    counter.add('q"\\\n')
    assert list(counter.lines("x")) == ['x{name="q\\"\\\\\\n"} 1']
    histogram = Histogram("/a/c", bounds=exponential(10, 2, 2))
    for value in (10, 10.5, 20, 99):
        histogram.add(value)
    assert list(histogram.lines("y")) == [
        'y_bucket{le="10"} 1',
        'y_bucket{le="20"} 3',
        'y_bucket{le="+Inf"} 4',
        "y_sum{} 139.5",
        "y_count{} 4",
    ]


def test_nothing_is_shown_unless_asked_for(kinds: ModelServer) -> None:
    assert http_call(kinds, "GET", PATH)[0] == 404


def test_the_path_can_be_chosen_and_batches_are_counted(models: Path, tmp_path: Path) -> None:
    config = tmp_path / "monitoring.config"
    config.write_text('prometheus_config { enable: true path: "/metrics" }')
    parameters = tmp_path / "batching.config"
    parameters.write_text(
        'max_batch_size { value: 4 } allowed_batch_sizes: 4 thread_pool_name { value: "pool" }'
    )
    base = served(models, tmp_path / "m", "half_plus_two", 1)
    flags = [
        f"--monitoring_config_file={config}",
        f"--batching_parameters_file={parameters}",
        "--enable_batching",
    ]
    with running_server(base, "m", flags) as server:
        predict_stub(server).Predict(predict_request("m", x=np.array([1, 2, 3], np.float32)))
        found = scrape(server, "/metrics")
        assert ":tensorflow:cc:saved_model:load_latency_total" in found
        batches = {
            name.removeprefix("batching_session:"): values
            for name, values in found.items()
            if name.startswith("batching_session:") and not name.endswith("_bucket")
        }
        assert batches.pop("queuing_latency_sum")[("pool",)] > 0
        assert batches == {
            "queuing_latency_count": {("pool",): 1},
            "wrapped_run_count_total": {(): 1},
            "input_batch_size_sum": {(): 3},
            "input_batch_size_count": {(): 1},
            "padding_size_sum": {(): 1},
            "padding_size_count": {(): 1},
            "processed_batch_size_sum": {(): 4},
            "processed_batch_size_count": {(): 1},
        }
        assert http_call(server, "GET", PATH)[0] == 404


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("prometheus { }", "INVALID_ARGUMENT: Invalid protobuf file: "),
        ('prometheus_config { enable: true path: "x" }', "has the path 'x' in "),
    ],
)
def test_a_bad_file_is_a_start_failure(tmp_path: Path, text: str, error: str) -> None:
    config = tmp_path / "monitoring.config"
    config.write_text(text)
    done = failed_start(tmp_path, "m", [f"--monitoring_config_file={config}"])
    assert error in done.stdout
