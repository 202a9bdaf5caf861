"""Requests whose form is known already, and answers that are written without protobuf."""

from __future__ import annotations

import weakref

import ml_dtypes
import numpy as np
import pytest
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import predict_pb2

from serving.models.signature import Signature
from serving.predict.templates import Template, Templates
from serving.wire import quick_response, tensor_proto
from tests.serving.conftest import predict_request

SIGNATURE = Signature("serving_default", meta_graph_pb2.SignatureDef())


def found(
    templates: Templates, request: predict_pb2.PredictRequest | bytes, array: np.ndarray
) -> Template | None:
    """Teach a message, and find what is known of it then."""
    data = request if isinstance(request, bytes) else request.SerializeToString()
    message = predict_pb2.PredictRequest.FromString(data)
    templates.learn(data, message, SIGNATURE, {"x": array}, ["y"])
    return templates.find(data)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize("shape", [(1, 784), (32, 20), (100,)])
def test_other_values_are_read_from_their_place(dtype: str, shape: tuple[int, ...]) -> None:
    first, second = (np.random.default_rng(seed).random(shape).astype(dtype) for seed in (1, 2))
    templates = Templates()
    template = found(templates, predict_request("m", "s", x=first), first)
    assert template is not None
    assert template.signature() is SIGNATURE
    assert template.message == predict_request("m", "s")
    other = predict_request("m", "s", x=second).SerializeToString()
    again = templates.find(other)
    assert again is template
    np.testing.assert_array_equal(again.array([other]), second)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "float32", "bool"])
def test_contents_of_any_type_are_values(dtype: str) -> None:
    array = np.ones((2, 100), dtype)
    request = predict_request("m")
    tensor_proto.write(request.inputs["x"], array, as_content=True)
    template = found(Templates(), request, array)
    assert template is not None
    np.testing.assert_array_equal(template.array([request.SerializeToString()]), array)


def test_another_model_version_filter_or_shape_is_another_form() -> None:
    array = np.ones((2, 100), np.float32)
    templates = Templates()
    assert found(templates, predict_request("m", x=array), array)
    versioned = predict_request("m", x=array)
    versioned.model_spec.version.value = 3
    for other in (
        predict_request("n", x=array),
        predict_request("m", "s", x=array),
        versioned,
        predict_request("m", x=array.reshape(4, 50)),
        predict_request("m", z=array),
    ):
        assert templates.find(other.SerializeToString()) is None


def test_values_that_are_not_last_or_not_all_have_no_form() -> None:
    array = np.arange(100, dtype=np.float32)
    plain = predict_request("m", x=array).SerializeToString()
    assert found(Templates(), plain, array)
    # The same values once more, in a field that nobody reads: only the tensor's count.
    unknown = b"\x7a" + tensor_proto.header(1, 400)[1:] + array.tobytes()
    assert found(Templates(), plain + unknown, array) is None
    # Written after the inputs.
    assert found(Templates(), predict_request("m", "", ("y",), x=array), array) is None
    two = predict_request("m", x=array, z=array)
    assert found(Templates(), two, array) is None
    integers = np.arange(100, dtype=np.int64)
    assert found(Templates(), predict_request("m", x=integers), integers) is None


def test_a_client_without_a_form_costs_little_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries = []
    monkeypatch.setattr(
        "serving.predict.templates._is_last", lambda *given: tries.append(given) or False
    )
    templates = Templates()
    for number in range(100):
        array = np.full(100, number, np.float32)
        assert found(templates, predict_request("m", x=array), array) is None
    assert len(tries) == 32


def test_an_unloaded_signature_is_not_kept() -> None:
    signature = Signature("s", meta_graph_pb2.SignatureDef())
    gone = weakref.ref(signature)
    array = np.ones(100, np.float32)
    data = predict_request("m", x=array).SerializeToString()
    templates = Templates()
    message = predict_pb2.PredictRequest.FromString(data)
    templates.learn(data, message, signature, {"x": array}, ["y"])
    del signature
    assert gone() is None
    template = templates.find(data)
    assert template is not None
    assert template.signature() is None


@pytest.mark.parametrize(
    "array",
    [
        np.array([[1.5, -0.0, np.nan]], np.float32),
        np.array([1e300]),
        np.array([1 + 2j], np.complex64),
        np.array([-(2**63), -1, 0, 127, 128, 2**63 - 1]),
        np.array([-128, 127], np.int8),
        np.array([255], np.uint8),
        np.array([65535], np.uint16),
        np.zeros((0, 3), np.float32),
        np.zeros((0,), np.int64),
        np.array(3.5, np.float32),
    ],
    ids=lambda array: f"{array.dtype}{list(array.shape)}",
)
def test_a_quick_answer_is_protobufs(array: np.ndarray) -> None:
    head = predict_pb2.PredictResponse()
    head.model_spec.name = "m"
    expected = predict_pb2.PredictResponse.FromString(head.SerializeToString())
    for name in ("y", "z" * 200):
        tensor_proto.write(expected.outputs[name], array)
    written = quick_response.write(head.SerializeToString(), {"y": array, "z" * 200: array})
    assert written is not None
    [content] = written
    got = predict_pb2.PredictResponse.FromString(content)
    # As text: NaN is no NaN's equal.
    assert str(got) == str(expected)


@pytest.mark.parametrize(
    "array",
    [np.array([b"x"], object), np.ones(3, np.float16), np.ones(3, ml_dtypes.bfloat16)],
    ids=lambda array: str(array.dtype),
)
def test_what_is_not_simple_is_left_to_protobuf(array: np.ndarray) -> None:
    assert quick_response.write(b"", {"y": array}) is None
