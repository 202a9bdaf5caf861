"""gRPC: answers, and every error's code and text. Versions that change are in test_versions."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import grpc
import ml_dtypes
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)

from serving.wire import tensor_proto
from tests.serving.asking import refused
from tests.serving.conftest import model_stub, predict_request, predict_stub
from tests.serving_fixtures import ModelServer
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("kinds")
PAIR = np.array([[1, 2], [3, 4]], np.float32)


@pytest.mark.parametrize(
    "array",
    [
        np.array([1.5, -0.0, np.nan, np.inf], np.float32),
        np.array([[1e300]], np.float64),
        np.array([1.5, 65504], np.float16),
        np.array([1.5, -2], ml_dtypes.bfloat16),
        np.array([-128, 127], np.int8),
        np.array([-(2**15)], np.int16),
        np.array([-(2**31)], np.int32),
        np.array([-(2**63), 2**63 - 1], np.int64),
        np.array([255], np.uint8),
        np.array([65535], np.uint16),
        np.array([2**32 - 1], np.uint32),
        np.array([2**64 - 1], np.uint64),
        np.array([True, False]),
        np.array([b"", b"\xff\x00", b"x" * 100], object),
        np.array([1 + 2j], np.complex64),
        np.array([1 - 2j], np.complex128),
        np.array(3, np.float32),
        np.zeros((0, 3), np.float32),
    ],
    ids=lambda array: f"{array.dtype}{list(array.shape)}",
)
@pytest.mark.parametrize("as_content", [False, True])
def test_every_type_and_shape_comes_back_as_it_went(
    kinds: ModelServer, array: np.ndarray, as_content: bool
) -> None:
    name = "string" if array.dtype == object else array.dtype.name
    request = predict_request("kinds", f"echo_{name}")
    tensor_proto.write(request.inputs["x"], array, as_content=as_content)
    answer = predict_stub(kinds).Predict(request).outputs["y"]
    assert not answer.tensor_content, "typed fields are the default"
    got = tensor_proto.from_proto(answer)
    assert got.dtype == array.dtype
    np.testing.assert_array_equal(got, array)


def test_a_value_given_once_fills_the_tensor(kinds: ModelServer) -> None:
    request = predict_request("kinds", "echo_float32", x=np.zeros(3, np.float32))
    request.inputs["x"].ClearField("float_val")
    request.inputs["x"].float_val.append(2.5)
    answer = predict_stub(kinds).Predict(request)
    assert list(answer.outputs["y"].float_val) == [2.5, 2.5, 2.5]


def test_the_answer_names_model_signature_and_version(mnist: ModelServer) -> None:
    images = np.zeros((2, 784), np.float32)
    images[0, 3 * 78 : 4 * 78] = 1
    images[1, 8 * 78 : 9 * 78] = 1
    answer = predict_stub(mnist).Predict(predict_request("mnist", images=images))
    assert answer.model_spec.name == "mnist"
    assert answer.model_spec.signature_name == "serving_default"
    assert answer.model_spec.version.value == 7
    assert list(answer.outputs["predictions"].int64_val) == [3, 8]
    assert set(answer.outputs) == {"predictions", "probabilities"}


def test_only_filtered_outputs_are_computed(kinds: ModelServer) -> None:
    answer = predict_stub(kinds).Predict(predict_request("kinds", "add", ("sum",), a=PAIR, b=PAIR))
    assert set(answer.outputs) == {"sum"}


def without_model_spec() -> predict_pb2.PredictRequest:
    request = predict_request("kinds")
    request.ClearField("model_spec")
    return request


def with_version(request: predict_pb2.PredictRequest, **spec: Any) -> predict_pb2.PredictRequest:
    if "version" in spec:
        request.model_spec.version.value = spec["version"]
    else:
        request.model_spec.version_label = spec["label"]
    return request


def undecodable() -> predict_pb2.PredictRequest:
    request = predict_request("kinds", "echo_float32", x=np.zeros(3, np.float32))
    request.inputs["x"].tensor_content = b"12345"
    return request


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (without_model_spec(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (predict_request(""), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (
            predict_request("nope"),
            "NOT_FOUND",
            "Servable not found for request: Latest(nope)",
        ),
        (
            with_version(predict_request("kinds"), version=99),
            "NOT_FOUND",
            "Servable not found for request: Specific(kinds, 99)",
        ),
        (
            with_version(predict_request("kinds"), label="stable"),
            "INVALID_ARGUMENT",
            "Unrecognized servable version label: stable",
        ),
        (
            predict_request("kinds", "nope"),
            "FAILED_PRECONDITION",
            'Serving signature key "nope" not found.',
        ),
        (
            predict_request("kinds", "add", a=PAIR),
            "INVALID_ARGUMENT",
            "input size does not match signature: 1!=2 len({a}) != len({a,b}). Sent extra: {}. "
            "Missing but required: {b}.",
        ),
        (
            predict_request("kinds", "add", a=PAIR, b=PAIR, c=PAIR),
            "INVALID_ARGUMENT",
            "input size does not match signature: 3!=2 len({a,b,c}) != len({a,b}). "
            "Sent extra: {c}. Missing but required: {}.",
        ),
        (
            predict_request("kinds", "add", a=PAIR, c=PAIR),
            "INVALID_ARGUMENT",
            "Signature input alias: b(feed name: add_b:0) not found in request and no default "
            "value provided. Inputs expected to be in the request {a,b}, or default input alias "
            "set: {}.",
        ),
        (undecodable(), "INVALID_ARGUMENT", "tensor parsing error: x"),
        (
            predict_request("kinds", "echo_float32", x=np.array([b"x"], object)),
            "INVALID_ARGUMENT",
            "Expects arg[0] to be float but string is provided",
        ),
        (
            predict_request("kinds", "add", ("z",), a=PAIR, b=PAIR),
            "INVALID_ARGUMENT",
            "output tensor alias not found in signature: z Outputs expected to be in the set "
            "{difference,sum}.",
        ),
        (
            predict_request("kinds", "add", ("sum", "sum"), a=PAIR, b=PAIR),
            "INVALID_ARGUMENT",
            "duplicate output tensor alias: sum",
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_predict_refuses_as_tensorflow_serving(
    kinds: ModelServer, request_: predict_pb2.PredictRequest, code: str, text: str
) -> None:
    assert refused(predict_stub(kinds).Predict, request_) == (code, text)


def test_a_wrong_shape_fails_in_the_graph_with_its_own_words(mnist: ModelServer) -> None:
    request = predict_request("mnist", images=np.zeros((1, 3), np.float32))
    code, text = refused(predict_stub(mnist).Predict, request)
    assert code == "INVALID_ARGUMENT"
    assert text.startswith("Matrix size-incompatible: In[0]: [1,3], In[1]: [784,10]\n\t [[{{node ")


def test_long_messages_are_cut(kinds: ModelServer) -> None:
    _, text = refused(predict_stub(kinds).Predict, predict_request("kinds", "s" * 5000))
    assert len(text) == 1024
    assert text.endswith("...TRUNCATED")


def test_a_huge_shape_with_few_values_is_refused(kinds: ModelServer) -> None:
    request = predict_request("kinds", "echo_float32", x=np.zeros(1, np.float32))
    request.inputs["x"].tensor_shape.dim[0].size = 2**40
    assert refused(predict_stub(kinds).Predict, request) == (
        "INVALID_ARGUMENT",
        "tensor parsing error: x",
    )


def test_the_deadline_ends_a_run(kinds: ModelServer) -> None:
    """The client gives up by itself; this one waits longer than the server may compute."""
    request = predict_request("kinds", "slow", steps=np.array([10**9], np.int32))
    with pytest.raises(grpc.RpcError) as caught:
        predict_stub(kinds).Predict(request, timeout=0.5)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    # Were the loop still running on the server, it would keep a processor busy for ever.
    eventually(lambda: computes_for(kinds, 0.5) < 0.25)
    quick = predict_request("kinds", "slow", steps=np.array([1], np.int32))
    predict_stub(kinds).Predict(quick, timeout=60)


def computes_for(server: ModelServer, seconds: float) -> float:
    """Return for how many seconds a server's process has a processor meanwhile."""

    def so_far() -> int:
        fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    before = so_far()
    time.sleep(seconds)
    return (so_far() - before) / os.sysconf("SC_CLK_TCK")


def test_metadata_has_the_signatures(kinds: ModelServer) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "kinds"
    answer = predict_stub(kinds).GetModelMetadata(request)
    assert answer.model_spec.name == "kinds"
    assert answer.model_spec.version.value == 3
    assert answer.model_spec.signature_name == ""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def["add"].inputs) == {"a", "b"}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ([], "GetModelMetadataRequest must specify at least one metadata_field"),
        (["graph"], "Metadata field graph is not supported"),
    ],
)
def test_metadata_refuses_other_fields(kinds: ModelServer, fields: list[str], text: str) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = "kinds"
    assert refused(predict_stub(kinds).GetModelMetadata, request) == ("INVALID_ARGUMENT", text)


def test_status_of_a_model(kinds: ModelServer) -> None:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "kinds"
    [status] = model_stub(kinds).GetModelStatus(request).model_version_status
    assert status.version == 3
    assert status.state == get_model_status_pb2.ModelVersionStatus.AVAILABLE
    assert status.status.error_code == 0

    request.model_spec.version.value = 9
    assert refused(model_stub(kinds).GetModelStatus, request) == (
        "NOT_FOUND",
        "Could not find version 9 of model kinds",
    )
    request.model_spec.ClearField("version")
    request.model_spec.name = "nope"
    assert refused(model_stub(kinds).GetModelStatus, request) == (
        "NOT_FOUND",
        "Could not find any versions of model nope",
    )


@pytest.mark.parametrize(
    "service",
    [
        "",
        "PredictionService",
        "ModelService",
        "tensorflow.serving.PredictionService",
        "tensorflow.serving.ModelService",
    ],
)
def test_health_is_serving_while_a_version_is_available(kinds: ModelServer, service: str) -> None:
    stub = health_pb2_grpc.HealthStub(kinds.channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service=service))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_lists_the_services(kinds: ModelServer) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(kinds.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    [answer] = stub.ServerReflectionInfo(iter([request]))
    names = {service.name for service in answer.list_services_response.service}
    assert {
        "tensorflow.serving.PredictionService",
        "tensorflow.serving.ModelService",
        "grpc.health.v1.Health",
    } <= names
