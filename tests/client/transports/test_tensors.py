"""Types that numpy has not, bit by bit, against ml_dtypes; composite tensors in metadata."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from client import Client, InvalidInput, Signature, TensorSpec
from client._inputs.fit import fit
from client._transports import messages, rest
from client._transports.base import Endpoint
from client._transports.grpc_codec import GrpcCodec
from client._transports.tensors import decode, encode
from client._transports.tls import Security
from tests.serving_fixtures import ModelServer

PROTO = messages.PredictRequest().inputs["x"].__class__


@pytest.mark.parametrize(
    ("name", "field", "bits"),
    [
        ("bfloat16", "half_val", 16),
        ("float8_e5m2", "float8_val", 8),
        ("float8_e4m3fn", "float8_val", 8),
    ],
)
@pytest.mark.parametrize("form", ["content", "values"])
def test_every_number_of_small_floats_is_read_exactly(
    name: str, field: str, bits: int, form: str
) -> None:
    every = np.arange(2**bits, dtype=f"uint{bits}")
    proto = PROTO(dtype=messages.DATA_TYPE_NUMBERS[f"DT_{name.upper()}"])
    proto.tensor_shape.dim.add(size=len(every))
    if form == "content":
        proto.tensor_content = every.tobytes()
    elif field == "half_val":
        proto.half_val.extend(every.tolist())
    else:
        proto.float8_val = every.tobytes()
    found = decode("y", proto)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, every.view(getattr(ml_dtypes, name)).astype(np.float32))


def test_bfloat16_is_rounded_to_the_nearest() -> None:
    random = np.random.default_rng(0)
    bits = random.integers(0, 2**32, 100_000, np.uint32)
    floats = np.concatenate([bits.view(np.float32), np.float32([0, -0.0, np.inf, -np.inf])])
    spec = TensorSpec("x", "bfloat16", (None,))
    (array,) = fit(Signature("s", {"x": spec}, {}), floats).values()
    proto = PROTO()
    encode(array, "bfloat16", proto)
    with np.errstate(invalid="ignore"):
        expected = floats.astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(decode("y", proto), expected)
    # An array that is one already.
    (array,) = fit(Signature("s", {"x": spec}, {}), expected.astype(ml_dtypes.bfloat16)).values()
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "complex64", "complex128"])
def test_they_go_through_a_real_server(kinds: ModelServer, dtype: str) -> None:
    sent = np.array([1.5, -2, 0], "float32" if dtype == "bfloat16" else dtype)
    with Client("127.0.0.1", "kinds", port=kinds.grpc_port) as one:
        np.testing.assert_array_equal(
            one.predict(sent, signature=f"echo_{dtype}").outputs["y"], sent
        )


def metadata_of(transport: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return metadata with composite tensors, through the codec of a transport."""
    endpoint = Endpoint("127.0.0.1", 1, "m", None, None)
    if transport == "grpc":
        response = messages.GetModelMetadataResponse()
        definitions = messages.SignatureDefMap()
        definition = definitions.signature_def["s"]
        definition.inputs["sparse"].coo_sparse.values_tensor_name = "v"
        spec = definition.outputs["ragged"].composite_tensor.type_spec
        spec.type_spec_class = 3
        definition.outputs["other"].composite_tensor.type_spec.type_spec_class = 10
        definition.outputs["y"].dtype = 1
        response.metadata["signature_def"].value = definitions.SerializeToString()
        return GrpcCodec(endpoint, Security()).metadata(response)
    tensor = {"dtype": "DT_INVALID", "tensor_shape": {"dim": [], "unknown_rank": False}}

    def composite(name: str) -> dict[str, Any]:
        return {**tensor, "composite_tensor": {"type_spec": {"type_spec_class": name}}}

    definition = {
        "inputs": {"sparse": {**tensor, "coo_sparse": {"values_tensor_name": "v"}}},
        "outputs": {
            "ragged": composite("RAGGED_TENSOR_SPEC"),
            "other": composite("PER_REPLICA_SPEC"),
            "y": {**tensor, "dtype": "DT_FLOAT"},
        },
    }
    answer = {
        "model_spec": {"version": "1"},
        "metadata": {"signature_def": {"signature_def": {"s": definition}}},
    }
    monkeypatch.setattr(rest.RestTransport, "_call", lambda *_: answer)
    return rest.RestTransport(endpoint, Security()).metadata(None)  # type: ignore[arg-type]


def test_composite_tensors_are_named_as_such(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    signature = metadata_of(transport, monkeypatch).signatures["s"]
    assert str(signature.inputs["sparse"]) == "sparse tensor, which is not served"
    assert str(signature.outputs["ragged"]) == "ragged tensor, which is not served"
    assert str(signature.outputs["other"]) == "composite tensor, which is not served"
    assert signature.outputs["y"].composite == ""
    with pytest.raises(InvalidInput, match="Input 'sparse' is a sparse tensor"):
        fit(signature, {"sparse": [1]})
    if transport == "grpc":
        # The others can be had nevertheless.
        codec = GrpcCodec(Endpoint("127.0.0.1", 1, "m", None, None), Security())
        assert list(codec.predict_request(signature, {}).output_filter) == ["y"]
