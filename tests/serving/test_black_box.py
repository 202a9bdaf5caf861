"""What TensorFlow Serving's own tests ask of a running server, asked of this one.

By behaviour, case by case, its `tensorflow_model_server_test.py` (24 cases): models that TensorFlow
1 and 2 saved, over gRPC, REST and a Unix socket. Left out are its two cases for TensorFlow Lite and
that for the profiler. Keras models: `test_saved_kinds`; TensorFlow Text: `test_custom_operations`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tensorflow.core.example import example_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from tests.serving.asking import http_call
from tests.serving.conftest import model_stub, predict_request, predict_stub
from tests.serving.models.test_many_models import rewrite
from tests.serving_fixtures import (
    ModelServer,
    failed_start,
    running_server,
)
from tests.waiting import eventually

VERSION = "00000123"
CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def based(models: Path, base: Path, kind: str) -> Path:
    """Put a SavedModel below a base path as that suite's models lie there; return the base path."""
    base.mkdir()
    (base / VERSION).symlink_to(models / kind)
    return base


@pytest.fixture(scope="module", params=["v1", "v2"])
def server(
    request: pytest.FixtureRequest, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModelServer]:
    """A server of a model that TensorFlow 1 or 2 saved, with the flags of that suite."""
    folder = tmp_path_factory.mktemp("suite")
    (folder / "monitoring").write_text("prometheus_config { enable: true }")
    base = based(models, folder / "default", f"half_plus_two_{request.param}")
    flags = [
        # That suite's 5 s are over while a busy machine pauses.
        "--rest_api_timeout_in_ms=60000",
        f"--grpc_socket_path={folder / 'socket'}",
        f"--monitoring_config_file={folder / 'monitoring'}",
        "--grpc_channel_arguments=grpc.max_connection_age_ms=2000,grpc.lb_policy_name=grpclb",
    ]
    with running_server(base, "default", flags) as running:
        yield running


def example() -> example_pb2.Example:
    made = example_pb2.Example()
    made.features.feature["x"].float_list.value.append(2.0)
    return made


def predict_y(
    channel: grpc.Channel, name: str = "default", output_filter: tuple[str, ...] = ()
) -> list[float]:
    """Return y of x = 2, after a look at what comes with it."""
    asked = predict_request(name, output_filter=output_filter, x=np.array([2], np.float32))
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    answer = stub.Predict(asked, timeout=60)
    spec = answer.model_spec
    assert (spec.name, spec.signature_name, spec.version.value) == (name, "serving_default", 123)
    assert answer.outputs.keys() == {"y"}
    return list(answer.outputs["y"].float_val)


def target(message: Any, signature: str = "") -> Any:
    message.model_spec.name = "default"
    message.model_spec.signature_name = signature
    return message


def test_the_state_of_the_only_version(server: ModelServer) -> None:
    asked = target(get_model_status_pb2.GetModelStatusRequest())
    [status] = model_stub(server).GetModelStatus(asked).model_version_status
    assert (status.version, status.status.error_code) == (123, 0)


def test_metadata(server: ModelServer) -> None:
    asked = target(get_model_metadata_pb2.GetModelMetadataRequest())
    asked.metadata_field.append("signature_def")
    answer = predict_stub(server).GetModelMetadata(asked)
    assert (answer.model_spec.name, answer.model_spec.version.value) == ("default", 123)
    assert answer.metadata.keys() == {"signature_def"}


def test_classify(server: ModelServer) -> None:
    asked = target(classification_pb2.ClassificationRequest(), "classify_x_to_y")
    asked.input.example_list.examples.append(example())
    answer = predict_stub(server).Classify(asked)
    [classification] = answer.result.classifications
    assert [one.score for one in classification.classes] == [3.0]
    assert answer.model_spec.signature_name == "classify_x_to_y"


def test_regress(server: ModelServer) -> None:
    asked = target(regression_pb2.RegressionRequest(), "regress_x_to_y")
    asked.input.example_list.examples.append(example())
    answer = predict_stub(server).Regress(asked)
    assert [one.value for one in answer.result.regressions] == [3.0]
    assert answer.model_spec.signature_name == "regress_x_to_y"


def test_multi_inference(server: ModelServer) -> None:
    """Symptom: refused for each model that TensorFlow 2 saved, whose inputs are never the same."""
    asked = inference_pb2.MultiInferenceRequest()
    for signature, method in (("regress_x_to_y", REGRESS), ("classify_x_to_y", CLASSIFY)):
        target(asked.tasks.add(method_name=method), signature)
    asked.input.example_list.examples.append(example())
    regression, classification = predict_stub(server).MultiInference(asked).results
    assert regression.regression_result.regressions[0].value == 3.0
    assert classification.classification_result.classifications[0].classes[0].score == 3.0
    for result, task in zip((regression, classification), asked.tasks, strict=True):
        assert result.model_spec.signature_name == task.model_spec.signature_name
        assert (result.model_spec.name, result.model_spec.version.value) == ("default", 123)


@pytest.mark.parametrize("output_filter", [(), ("y",)])
def test_predict(server: ModelServer, output_filter: tuple[str, ...]) -> None:
    assert predict_y(server.channel, output_filter=output_filter) == [3.0]


def test_predict_over_a_unix_socket(server: ModelServer) -> None:
    with grpc.insecure_channel(f"unix:{server.base_path.parent / 'socket'}") as channel:
        assert predict_y(channel) == [3.0]


@pytest.mark.parametrize(
    ("method", "body", "answer"),
    [
        ("classify", {"examples": [{"x": 2.0}]}, {"results": [[["", 3.0]]]}),
        ("regress", {"examples": [{"x": 2.0}]}, {"results": [3.0]}),
        # x is [-1, 1]: whether numbers will do, the graph says.
        ("predict", {"instances": [2.0, 3.0, 4.0]}, {"predictions": [3.0, 3.5, 4.0]}),
        ("predict", {"inputs": [2.0, 3.0, 4.0]}, {"outputs": [3.0, 3.5, 4.0]}),
    ],
    ids=["classify", "regress", "rows", "columns"],
)
def test_rest(server: ModelServer, method: str, body: dict[str, Any], answer: Any) -> None:
    named = {} if method == "predict" else {"signature_name": f"{method}_x_to_y"}
    status, text = http_call(server, "POST", f"/v1/models/default:{method}", body | named)
    assert (status, json.loads(text)) == (200, answer)


def test_rest_status(server: ModelServer) -> None:
    status, text = http_call(server, "GET", "/v1/models/default")
    version = {
        "version": "123",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    assert (status, json.loads(text)) == (200, {"model_version_status": [version]})


def tensor(dtype: str, name: str, *dims: int, unknown_rank: bool = False) -> dict[str, Any]:
    dim = [{"size": str(size), "name": ""} for size in dims]
    return {
        "dtype": dtype,
        "name": name,
        "tensor_shape": {"dim": dim, "unknown_rank": unknown_rank},
    }


def test_rest_metadata(server: ModelServer) -> None:
    """The whole answer. Symptom: a key `@type` beside the signatures."""
    status, text = http_call(server, "GET", "/v1/models/default/metadata")
    answer = json.loads(text)
    spec = {"name": "default", "signature_name": "", "version": "123"}
    assert (status, answer["model_spec"]) == (200, spec)
    assert answer.keys() == {"model_spec", "metadata"}
    assert answer["metadata"].keys() == {"signature_def"}
    assert answer["metadata"]["signature_def"].keys() == {"signature_def"}
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    if "regress_x_to_y2" not in signatures:
        assert signatures.keys() > {"serving_default", "classify_x_to_y", "regress_x_to_y"}
        return

    def made(method: str, inputs: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
        method_name = f"tensorflow/serving/{method}"
        return {"inputs": inputs, "outputs": outputs, "method_name": method_name, "defaults": {}}

    def numbers(name: str) -> dict[str, Any]:
        return tensor("DT_FLOAT", name, -1, 1)

    given = {"inputs": tensor("DT_STRING", "tf_example:0", unknown_rank=True)}
    assert signatures == {
        "serving_default": made("predict", {"x": numbers("x:0")}, {"y": numbers("y:0")}),
        "classify_x_to_y": made("classify", given, {"scores": numbers("y:0")}),
        "regress_x_to_y": made("regress", given, {"outputs": numbers("y:0")}),
        "regress_x_to_y2": made("regress", given, {"outputs": numbers("y2:0")}),
        "regress_x2_to_y3": made(
            "regress", {"inputs": numbers("x2:0")}, {"outputs": numbers("y3:0")}
        ),
    }


def test_metrics_for_prometheus(server: ModelServer) -> None:
    status, text = http_call(server, "GET", "/monitoring/prometheus/metrics")
    assert status == 200
    assert "# TYPE" in text


def config_of(**paths: Path) -> str:
    entries = (
        f'config {{ name: "{name}", base_path: "{path}", model_platform: "tensorflow" }}'
        for name, path in paths.items()
    )
    return f"model_config_list: {{ {' '.join(entries)} }}"


@pytest.fixture
def bases(models: Path, tmp_path: Path) -> dict[str, Path]:
    return {
        kind: based(models, tmp_path / kind, kind) for kind in ("half_plus_two", "half_plus_three")
    }


def test_a_file_with_several_models(bases: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "config").write_text(config_of(**bases))
    flags = [f"--model_config_file={tmp_path / 'config'}"]
    with running_server(bases["half_plus_two"], "", flags) as server:
        for name, y in (("half_plus_two", 3.0), ("half_plus_three", 4.0)):
            assert predict_y(server.channel, name, ("y",)) == [y]
            assert predict_y(server.channel, name) == [y]


def test_a_file_that_is_none_is_told_on_stderr(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("improper: {")
    flags = [f"--model_config_file={tmp_path / 'config'}"]
    done = failed_start(tmp_path, "", flags)
    assert "Error parsing text-format tensorflow.serving.ModelServerConfig" in done.stderr


@pytest.mark.parametrize("seconds", [1, 0])
def test_a_changed_file_counts_where_it_is_looked_at(
    bases: dict[str, Path], tmp_path: Path, seconds: int
) -> None:
    (tmp_path / "config").write_text(config_of(half_plus_two=bases["half_plus_two"]))
    flags = [
        f"--model_config_file={tmp_path / 'config'}",
        f"--model_config_file_poll_wait_seconds={seconds}",
    ]
    with running_server(bases["half_plus_two"], "", flags) as server:
        assert predict_y(server.channel, "half_plus_two") == [3.0]
        rewrite(tmp_path / "config", config_of(half_plus_three=bases["half_plus_three"]))

        def answered() -> bool:
            try:
                return predict_y(server.channel, "half_plus_three") == [4.0]
            except grpc.RpcError:
                return False

        if seconds:
            assert eventually(answered)
        else:
            with pytest.raises(AssertionError, match="still not true"):
                eventually(answered, 2)
            assert predict_y(server.channel, "half_plus_two") == [3.0]


def test_predict_by_a_signature_of_another_name(models: Path, tmp_path: Path) -> None:
    with running_server(based(models, tmp_path / "kinds", "kinds"), "default") as server:
        asked = predict_request("default", "echo_float32", x=np.array([2], np.float32))
        answer = predict_stub(server).Predict(asked)
        assert list(answer.outputs["y"].float_val) == [2.0]
        assert answer.model_spec.signature_name == "echo_float32"
