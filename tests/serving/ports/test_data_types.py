"""Types without a JSON form, and what is no tensor: over gRPC, and the codes of their REST errors.

The usual types are covered by `test_grpc` and `test_rest`.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from tests.serving.asking import http_call, refused
from tests.serving.conftest import predict_stub
from tests.serving_fixtures import UNUSUAL_TYPES, ModelServer

CODED = bytes([1, 60, 130, 0])
"""Of any float8, four numbers."""


def request(name: str, **fields: Any) -> predict_pb2.PredictRequest:
    asked = predict_pb2.PredictRequest()
    asked.model_spec.name = "kinds"
    asked.model_spec.signature_name = f"echo_{name}"
    tensor = tensor_pb2.TensorProto(dtype=UNUSUAL_TYPES[name], **fields)
    tensor.tensor_shape.dim.add(size=2)
    tensor.tensor_shape.dim.add(size=2)
    asked.inputs["x"].CopyFrom(tensor)
    return asked


@pytest.mark.parametrize("name", UNUSUAL_TYPES)
def test_each_type_goes_in_and_comes_out(kinds: ModelServer, name: str) -> None:
    """In the fields that `Tensor::AsProtoField` of TensorFlow writes."""
    if name.startswith("float8"):
        given: dict[str, Any] = {"float8_val": CODED}
    else:
        given = {"int_val": [1, 0, 1, 1 if name[0] == "u" or name[:2] == "qu" else -2]}
    found = predict_stub(kinds).Predict(request(name, **given)).outputs["y"]
    assert found == request(name, **given).inputs["x"]


@pytest.mark.parametrize("name", UNUSUAL_TYPES)
def test_tensor_content_and_a_value_that_fills_the_rest(kinds: ModelServer, name: str) -> None:
    width = 4 if "32" in name else 2 if "16" in name else 1
    found = predict_stub(kinds).Predict(request(name, tensor_content=CODED[:1] * 4 * width))
    value = int.from_bytes(CODED[:1] * width, "little")
    field = found.outputs["y"].float8_val or found.outputs["y"].int_val
    assert list(field) == [value] * 4
    one: dict[str, Any] = {"float8_val": b"\1"} if "float8" in name else {"int_val": [1]}
    found = predict_stub(kinds).Predict(request(name, **one))
    assert list(found.outputs["y"].float8_val or found.outputs["y"].int_val) == [1] * 4


@pytest.mark.parametrize("name", UNUSUAL_TYPES)
def test_rest_has_no_form_for_their_elements(kinds: ModelServer, name: str) -> None:
    body = {"signature_name": f"echo_{name}", "inputs": [1]}
    status, text = http_call(kinds, "POST", "/v1/models/kinds:predict", body)
    assert status == 501
    assert json.loads(text)["error"] == f"Conversion of JSON Value: 1 to type: {name}"
    body = {"signature_name": f"echo_{name}", "inputs": []}
    status, text = http_call(kinds, "POST", "/v1/models/kinds:predict", body)
    assert (status, json.loads(text)) == (200, {"outputs": []}), "no element, no conversion"


def test_an_output_that_is_no_tensor_is_named(kinds: ModelServer) -> None:
    asked = predict_pb2.PredictRequest()
    asked.model_spec.name = "kinds"
    asked.model_spec.signature_name = "words"
    asked.inputs["x"].dtype = 7
    asked.inputs["x"].tensor_shape.dim.add(size=1)
    asked.inputs["x"].string_val.append(b"a bc")
    code, text = refused(predict_stub(kinds).Predict, asked)
    assert code == "INVALID_ARGUMENT"
    told = "Output 'words' of signature 'words' is a composite tensor (RaggedTensor), which is not"
    assert text.startswith(told)
    body = {"signature_name": "words", "instances": ["a bc"]}
    status, answer = http_call(kinds, "POST", "/v1/models/kinds:predict", body)
    assert status == 400
    assert json.loads(answer)["error"] == text

    asked.output_filter.append("bytes")
    assert list(predict_stub(kinds).Predict(asked).outputs["bytes"].int_val) == [4]


def test_metadata_says_what_a_composite_output_is(kinds: ModelServer) -> None:
    status, text = http_call(kinds, "GET", "/v1/models/kinds/metadata")
    signatures = json.loads(text)["metadata"]["signature_def"]["signature_def"]
    spec = signatures["words"]["outputs"]["words"]["composite_tensor"]["type_spec"]
    assert (status, spec["type_spec_class"]) == (200, "RAGGED_TENSOR_SPEC")
