"""`TensorProto` to numpy and back, without a Python loop over numbers where protobuf allows it.

Follows `Tensor::FromProto` and `Tensor::AsProtoField` of TensorFlow's `core/framework/tensor.cc`.
String tensors are object arrays of `bytes`.
"""

from __future__ import annotations

import math
import sys

import numpy as np
from tensorflow.core.framework import tensor_pb2, types_pb2

from ..data_types import DATA_TYPES, NUMPY_TYPES, STRING

assert sys.byteorder == "little"  # As tensor_content and packed fields are on the wire.

_FIELDS = {
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

_FIXED_WIDTH = {"float_val": 4, "double_val": 8, "scomplex_val": 4, "dcomplex_val": 8}
"""Fields whose packed wire form is the very bytes of the array; value: bytes per element."""

_TAGS = {
    name: field.number << 3 | 2
    for name, field in tensor_pb2.TensorProto.DESCRIPTOR.fields_by_name.items()
}
"""What precedes a packed field on the wire, before its length."""

_LONGEST_FILL_BYTES = 64 * 2**20
"""What one given value may be repeated to fill: a few bytes must not claim all memory."""


def data_type_name(data_type: int) -> str:
    """Return TensorFlow's short name: `float`, `int64`, `string`."""
    name: str = types_pb2.DataType.Name(data_type)
    return name.removeprefix("DT_").lower()


def from_proto(proto: tensor_pb2.TensorProto) -> np.ndarray:
    """Return the tensor's value; numbers may be a read-only view of the message.

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
    if proto.tensor_content and proto.dtype != STRING:
        if len(proto.tensor_content) != count * dtype.itemsize:
            raise ValueError("tensor_content does not fit the shape")
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    field = _FIELDS[proto.dtype]
    given = getattr(proto, field)
    if proto.dtype == STRING:
        values = np.empty(len(given), dtype=object)
        values[:] = given
    elif field in _FIXED_WIDTH:
        values = _packed(proto, field).view(dtype)
    elif field == "half_val":
        values = np.fromiter(given, np.int64, len(given)).astype(np.uint16).view(dtype)
    elif field == "float8_val":
        values = np.frombuffer(given, dtype)
    elif dtype.fields:
        values = np.fromiter(given, np.int64, len(given)).astype(dtype[0]).view(dtype)
    else:
        wide = np.uint64 if field.startswith("uint") else np.int64
        values = np.fromiter(given, wide, len(given)).astype(dtype)
    return _filled(values, count).reshape(shape)


def write(proto: tensor_pb2.TensorProto, array: np.ndarray, *, as_content: bool = False) -> None:
    """Fill an empty message with an array.

    Args:
        proto: the message.
        array: of a type in `data_types.NUMPY_TYPES`.
        as_content: fill `tensor_content` instead of the typed field (strings: always typed).
    """
    data_type = DATA_TYPES[array.dtype]
    proto.dtype = data_type
    dims = proto.tensor_shape.dim
    for size in array.shape:
        dims.add(size=size)
    field = _FIELDS[data_type]
    if data_type == STRING:
        proto.string_val.extend(array.ravel().tolist())
    elif as_content:
        proto.tensor_content = array.tobytes()
    elif field in _FIXED_WIDTH and array.size:
        proto.MergeFromString(_header(field, array.nbytes) + array.tobytes())
    elif field == "half_val":
        proto.half_val.extend(np.ascontiguousarray(array).view(np.uint16).ravel().tolist())
    elif field == "float8_val":
        proto.float8_val = array.tobytes()
    elif array.dtype.fields:
        getattr(proto, field).extend(array.ravel().view(array.dtype[0]).tolist())
    else:
        getattr(proto, field).extend(array.ravel().tolist())


def _packed(proto: tensor_pb2.TensorProto, field: str) -> np.ndarray:
    """Return a fixed-width repeated field as an array of its element type.

    Serialising and reading the bytes back takes 1 us for 784 floats, a loop over the field 46 us.
    """
    width = _FIXED_WIDTH[field]
    count = len(getattr(proto, field))
    element = np.dtype(f"<f{width}")
    if not count:
        return np.empty(0, element)
    data = proto.SerializeToString()
    header = _header(field, count * width)
    start = len(data) - count * width
    if data[start - len(header) : start] == header:
        return np.frombuffer(data, element, offset=start)
    # The field is not the last one: a message with more than one typed field, or unknown ones.
    return np.fromiter(getattr(proto, field), element, count)


def _header(field: str, size: int) -> bytes:
    """Return tag and length that precede `size` bytes of a packed field on the wire."""
    header = bytearray([_TAGS[field]])
    while size > 127:
        header.append(size & 127 | 128)
        size >>= 7
    header.append(size)
    return bytes(header)


def _filled(values: np.ndarray, count: int) -> np.ndarray:
    """Cut or lengthen to `count` elements, repeating the last one given; none given means zero."""
    if values.size == count:
        return values
    if values.size > count:
        return values[:count]
    if (count - values.size) * values.itemsize > _LONGEST_FILL_BYTES:
        raise ValueError("too few values for the shape")
    filler = values[-1] if values.size else b"" if values.dtype == object else 0
    return np.concatenate([values, np.full(count - values.size, filler, dtype=values.dtype)])
