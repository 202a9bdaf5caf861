"""Large messages, read and written without protobuf: the same as with it, for whatever comes."""

from __future__ import annotations

import random
import re
import time

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import predict_pb2

from serving.data_types import NUMPY_TYPES
from serving.wire import large_tensors, tensor_proto, varints

RANDOM = np.random.default_rng(1)


def array_of(dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Return values of all sizes that a type has."""
    if dtype.kind == "O":
        values = np.empty(shape, dtype=object)
        values.ravel()[:] = [RANDOM.bytes(int(n)) for n in RANDOM.integers(0, 300, values.size)]
        return values
    if dtype == np.bool_:
        return RANDOM.integers(0, 2, shape).astype(np.bool_)
    if dtype.itemsize == 1 and dtype.kind == "V" and not dtype.fields:
        return RANDOM.integers(0, 2, shape).astype(dtype)
    return np.frombuffer(RANDOM.bytes(int(np.prod(shape)) * dtype.itemsize), dtype).reshape(shape)


ARRAYS = [array_of(dtype, (7, 3)) for dtype in NUMPY_TYPES.values()]


def request_of(array: np.ndarray, *, as_content: bool = False) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest(output_filter=["y"])
    request.model_spec.name = "m"
    tensor_proto.write(request.inputs["x"], array, as_content=as_content)
    tensor_proto.write(request.inputs["other"], np.zeros(2, np.float32))
    return request


def read_back(data: bytes) -> dict[str, np.ndarray]:
    request, values = large_tensors.read_request(data)
    assert request.ByteSize() < 200, "what protobuf parsed is small"
    assert request.model_spec.name == "m"
    assert list(request.output_filter) == ["y"]
    return {
        name: tensor_proto.from_proto(proto, values[name]) for name, proto in request.inputs.items()
    }


def bits(array: np.ndarray) -> object:
    return array.tolist() if array.dtype.kind == "O" else array.tobytes()


@pytest.mark.parametrize("as_content", [False, True])
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.dtype))
def test_every_type_is_read_as_protobuf_reads_it(array: np.ndarray, as_content: bool) -> None:
    found = read_back(request_of(array, as_content=as_content).SerializeToString())
    assert found.keys() == {"x", "other"}
    assert (found["x"].dtype, found["x"].shape) == (array.dtype, array.shape)
    assert bits(found["x"]) == bits(array)


@pytest.mark.parametrize("as_content", [False, True])
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.dtype))
def test_every_type_is_written_as_protobuf_writes_it(array: np.ndarray, as_content: bool) -> None:
    head = predict_pb2.PredictResponse()
    head.model_spec.name = "m"
    outputs = {"y": array, "z": array[::2], "scalar": array[0, 0:1].reshape(())}
    data = large_tensors.write_response(head, outputs, as_content=as_content)
    for name, output in outputs.items():
        tensor_proto.write(head.outputs[name], output, as_content=as_content)
    assert predict_pb2.PredictResponse.FromString(data) == head


def test_values_of_all_lengths_make_the_same_varints_as_protobufs() -> None:
    around = [(1 << bit) + more for bit in range(64) for more in (-1, 0, 1)]
    values = np.array([value for value in around if value < 2**64] * 700, np.uint64)
    data = b"".join(varints.encode(values))
    expected = tensor_proto.tensor_pb2.TensorProto(uint64_val=values.tolist()).SerializeToString()
    assert expected.endswith(data)
    assert np.array_equal(
        varints.decode(np.frombuffer(data, np.uint8), values.dtype, len(values)), values
    )


@pytest.mark.parametrize("data", [b"\x80", b"\x01\xff", b"\xff" * 10 + b"\x01", b"\xff" * 200_000])
def test_bytes_that_are_no_varints_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="varint"):
        varints.decode(np.frombuffer(data, np.uint8), np.dtype(np.int64), 2**20)


def test_one_value_for_a_whole_shape_takes_no_memory_yet() -> None:
    request = request_of(np.ones(1, np.float32))
    request.inputs["x"].tensor_shape.dim[0].size = 2**24
    array = read_back(request.SerializeToString())["x"]
    assert (array.shape, array.strides) == ((2**24,), (0,))


def test_garbage_is_read_as_protobuf_reads_it_or_left_to_it() -> None:
    """Whatever the scanner takes, protobuf takes as well, with the same values."""
    valid = [
        request_of(array, as_content=content).SerializeToString()
        for array in (*ARRAYS[:3], np.arange(300), np.array([b"a" * 200, b""], object))
        for content in (False, True)
    ]
    chance = random.Random(2)
    taken = 0
    for _ in range(20_000):
        data = bytearray(chance.choice(valid))
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(data))
            if chance.random() < 0.7:
                data[place] = chance.choice((0, 1, 2, 8, 10, 18, 26, 34, 127, 128, 255))
            else:
                del data[place : place + chance.randint(1, 3)]
        try:
            request, values = large_tensors.read_request(bytes(data))
        except (ValueError, DecodeError):
            continue
        try:
            expected = predict_pb2.PredictRequest.FromString(bytes(data))
        except DecodeError:
            # Found only once the varints are read.
            assert re.search(rb"[\x80-\xff]{10}", data)
            continue
        assert request.inputs.keys() == expected.inputs.keys()
        assert request.model_spec == expected.model_spec
        for name, proto in expected.inputs.items():
            try:
                array = tensor_proto.from_proto(proto)
            except ValueError:
                with pytest.raises(ValueError):  # noqa: PT011  # Any: both refuse.
                    tensor_proto.from_proto(request.inputs[name], values.get(name, {}))
            else:
                found = tensor_proto.from_proto(request.inputs[name], values.get(name, {}))
                assert (found.dtype, found.shape) == (array.dtype, array.shape)
                assert bits(found) == bits(array)
                taken += 1
    assert taken > 1000


@pytest.mark.parametrize("field", [b"\x00\x00", b"\x78\x01"], ids=["garbage", "unknown fields"])
def test_megabytes_of_tiny_fields_are_left_to_protobuf_at_once(field: bytes) -> None:
    """Scanned one by one, 20 MB of them took minutes, with nothing held and nobody told."""
    started = time.thread_time()
    with pytest.raises(ValueError, match="more fields than a message has"):
        large_tensors.read_request(field * 10_000_000)
    assert time.thread_time() - started < 1
