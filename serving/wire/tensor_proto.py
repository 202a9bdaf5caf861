"""`TensorProto` to numpy and back, without a Python loop over numbers where protobuf allows it.

Follows `Tensor::FromProto` and `Tensor::AsProtoField` of TensorFlow's `core/framework/tensor.cc`.
String tensors are object arrays of `bytes`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from tensorflow.core.framework import tensor_pb2, types_pb2

from ..data_types import DATA_TYPES, NUMPY_TYPES, STRING
from . import varints

assert sys.byteorder == "little"  # As tensor_content and packed fields are on the wire.

FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_INT16: "int_val",
    types_pb2.DT_INT8: "int_val",
    types_pb2.DT_STRING: "string_val",
    types_pb2.DT_COMPLEX64: "scomplex_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_BFLOAT16: "half_val",
    types_pb2.DT_UINT16: "int_val",
    types_pb2.DT_COMPLEX128: "dcomplex_val",
    types_pb2.DT_HALF: "half_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
    types_pb2.DT_QINT8: "int_val",
    types_pb2.DT_QUINT8: "int_val",
    types_pb2.DT_QINT16: "int_val",
    types_pb2.DT_QUINT16: "int_val",
    types_pb2.DT_QINT32: "int_val",
    types_pb2.DT_FLOAT8_E5M2: "float8_val",
    types_pb2.DT_FLOAT8_E4M3FN: "float8_val",
    types_pb2.DT_FLOAT8_E4M3FNUZ: "float8_val",
    types_pb2.DT_FLOAT8_E4M3B11FNUZ: "float8_val",
    types_pb2.DT_FLOAT8_E5M2FNUZ: "float8_val",
    types_pb2.DT_INT4: "int_val",
    types_pb2.DT_UINT4: "int_val",
    types_pb2.DT_INT2: "int_val",
    types_pb2.DT_UINT2: "int_val",
}

FIXED_WIDTH = {"float_val": 4, "double_val": 8, "scomplex_val": 4, "dcomplex_val": 8}
"""Fields whose packed wire form is the very bytes of the array; value: bytes per element."""

_NUMBERS = {
    name: field.number for name, field in tensor_pb2.TensorProto.DESCRIPTOR.fields_by_name.items()
}

Values = Mapping[str, Sequence[bytes | memoryview]]
"""Field of a `TensorProto` to the bytes that it holds on the wire, in one part or several; of
`string_val` each part is a string."""

_NO_VALUES: Values = {}
Claim = Callable[[int], object]
"""Is told bytes of memory that are about to be taken, and raises what refuses them."""

STRING_BYTES = 24
"""What each string takes in a tensor, besides its text if that is long."""

_LONGEST_FILL_BYTES = 64 * 2**20
"""What one given value may be repeated to fill: a few bytes must not claim all memory."""


def data_type_name(data_type: int) -> str:
    """Return TensorFlow's short name: `float`, `int64`, `string`."""
    name: str = types_pb2.DataType.Name(data_type)
    return name.removeprefix("DT_").lower()


def from_proto(
    proto: tensor_pb2.TensorProto, values: Values = _NO_VALUES, claim: Claim = lambda _: None
) -> np.ndarray:
    """Return the tensor's value; numbers may be a read-only view of the message.

    Args:
        proto: the message.
        values: of its fields, where they are not in the message: see `large_tensors`.
        claim: told how large the tensor will be in the model, without the texts of strings.

    Raises:
        ValueError: no valid tensor.
    """
    dtype = NUMPY_TYPES.get(proto.dtype)
    if dtype is None or proto.tensor_shape.unknown_rank:
        raise ValueError("unsupported data type or unknown rank")
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if any(size < 0 for size in shape):
        raise ValueError("negative dimension")
    count = math.prod(shape)
    width = STRING_BYTES if proto.dtype == STRING else dtype.itemsize
    content: bytes | memoryview = proto.tensor_content
    if "tensor_content" in values:
        content = values["tensor_content"][-1]
    if len(content) and proto.dtype != STRING:
        if len(content) != count * width:
            raise ValueError("tensor_content does not fit the shape")
        claim(count * width)
        return np.frombuffer(content, dtype).reshape(shape)
    field = FIELDS[proto.dtype]
    parts = values.get(field)
    # How many there are at most: a varint has at least one byte.
    given = len(getattr(proto, field)) if parts is None else len(parts) + sum(map(len, parts))
    if (count - given) * width > _LONGEST_FILL_BYTES:
        raise ValueError("too few values for the shape")
    claim(count * width)
    found = _given(proto, field, dtype) if parts is None else _read(parts, field, dtype, count)
    return _filled(found, shape)


def _given(proto: tensor_pb2.TensorProto, field: str, dtype: np.dtype) -> np.ndarray:
    """Return the values that a field of a message holds."""
    if field in FIXED_WIDTH:
        return _packed(proto, field).view(dtype)
    given = getattr(proto, field)
    if field == "float8_val":
        return np.frombuffer(given, dtype)
    if field == "string_val":
        strings = np.empty(len(given), dtype=object)
        strings[:] = given
        return strings
    wide = np.fromiter(given, np.uint64 if field == "uint64_val" else np.int64, len(given))
    return wide.astype(_stored(dtype)).view(dtype)


def _read(
    parts: Sequence[bytes | memoryview], field: str, dtype: np.dtype, count: int
) -> np.ndarray:
    """Return at most `count` values that the bytes of a field hold."""
    if field == "string_val":
        strings = np.empty(min(count, len(parts)), dtype=object)
        strings[:] = parts[: len(strings)]
        return strings
    if field == "float8_val":
        return np.frombuffer(parts[-1], dtype)
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    if field in FIXED_WIDTH:
        return np.frombuffer(data, dtype)
    return varints.decode(np.frombuffer(data, np.uint8), _stored(dtype), count).view(dtype)


def _stored(dtype: np.dtype) -> np.dtype:
    """Return the type of integers that stand for values of a type in the field for it."""
    if dtype.fields:
        return dtype[0]
    return np.dtype(np.uint16) if FIELDS[DATA_TYPES[dtype]] == "half_val" else dtype


def write(proto: tensor_pb2.TensorProto, array: np.ndarray, *, as_content: bool = False) -> None:
    """Fill an empty message with an array.

    Args:
        proto: the message.
        array: of a type in `data_types.NUMPY_TYPES`.
        as_content: fill `tensor_content` instead of the typed field (strings: always typed).
    """
    write_head(proto, array)
    field = FIELDS[proto.dtype]
    if proto.dtype == STRING:
        proto.string_val.extend(array.ravel().tolist())
    elif as_content:
        proto.tensor_content = array.tobytes()
    elif field in FIXED_WIDTH and array.size:
        proto.MergeFromString(header(_NUMBERS[field], array.nbytes) + array.tobytes())
    elif field == "half_val":
        proto.half_val.extend(np.ascontiguousarray(array).view(np.uint16).ravel().tolist())
    elif field == "float8_val":
        proto.float8_val = array.tobytes()
    elif array.dtype.fields:
        getattr(proto, field).extend(array.ravel().view(array.dtype[0]).tolist())
    else:
        getattr(proto, field).extend(array.ravel().tolist())


def write_head(proto: tensor_pb2.TensorProto, array: np.ndarray) -> None:
    """Write data type and shape of an array into an empty message."""
    proto.dtype = DATA_TYPES[array.dtype]
    dims = proto.tensor_shape.dim
    for size in array.shape:
        dims.add(size=size)


def _packed(proto: tensor_pb2.TensorProto, field: str) -> np.ndarray:
    """Return a fixed-width repeated field as an array of its element type.

    Serialising and reading the bytes back takes 1 us for 784 floats, a loop over the field 46 us.
    """
    width = FIXED_WIDTH[field]
    count = len(getattr(proto, field))
    element = np.dtype(f"<f{width}")
    if not count:
        return np.empty(0, element)
    data = proto.SerializeToString()
    head = header(_NUMBERS[field], count * width)
    start = len(data) - count * width
    if data[start - len(head) : start] == head:
        return np.frombuffer(data, element, offset=start)
    # The field is not the last one: a message with more than one typed field, or unknown ones.
    return np.fromiter(getattr(proto, field), element, count)


def header(number: int, size: int) -> bytes:
    """Return tag and length that precede `size` bytes of a field on the wire."""
    head = bytearray()
    for value in (number << 3 | 2, size):
        while value > 127:
            head.append(value & 127 | 128)
            value >>= 7
        head.append(value)
    return bytes(head)


def _filled(values: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Return values in a shape: cut, or the last one repeated; none given means zero.

    One value that fills all of a shape takes no memory before the model gets it.
    """
    count = math.prod(shape)
    if values.size >= count:
        return values[:count].reshape(shape)
    width = STRING_BYTES if values.dtype == object else values.itemsize
    if (count - values.size) * width > _LONGEST_FILL_BYTES:
        raise ValueError("too few values for the shape")
    if not values.size:
        values = np.zeros(1, values.dtype)
        if values.dtype == object:
            values[0] = b""
    if values.size == 1:
        return np.broadcast_to(values.reshape(()), shape)
    filler = np.broadcast_to(values[-1:], (count - values.size,))
    return np.concatenate([values, filler]).reshape(shape)
