"""Small answers to Predict, written without protobuf: what repeats is kept, only values are new.

Strings, half precision and the like are left to protobuf.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from ..data_types import DATA_TYPES
from .tensor_proto import FIELDS, FIXED_WIDTH, header, write_head

_INTEGERS = {np.dtype(name) for name in ("int8", "int16", "int32", "int64", "uint8", "uint16")}
_MOST_INTEGERS = 64
_MOST_HEADS = 1024
_OUTPUTS = predict_pb2.PredictResponse.DESCRIPTOR.fields_by_name["outputs"].number
_NUMBERS = {
    name: field.number for name, field in tensor_pb2.TensorProto.DESCRIPTOR.fields_by_name.items()
}
_KEY, _VALUE = 1, 2
"""Fields of an entry of a map."""

_heads: dict[tuple[str, np.dtype, tuple[int, ...], int], bytes] = {}
"""What precedes the values of an output: by name, data type, shape and bytes of the values."""


def write(head: bytes, outputs: Mapping[str, np.ndarray], count: int = 1) -> list[bytes] | None:
    """Return serialised responses; None: they are left to protobuf.

    Args:
        head: all of each but the outputs, serialised.
        outputs: name to array.
        count: of responses: the rows of `outputs` are theirs, as many of each.
    """
    columns = [[head] * count]
    for name, array in outputs.items():
        dtype, first = array.dtype, array if count == 1 else array[: len(array) // count]
        if FIELDS.get(DATA_TYPES.get(dtype, 0)) in FIXED_WIDTH:
            values, size = array.tobytes(), first.nbytes
            columns.append([_head_of(name, first, size)] * count)
            columns.append([values[at * size : (at + 1) * size] for at in range(count)])
        elif dtype in _INTEGERS and first.size <= _MOST_INTEGERS:
            rows = array.reshape(count, first.size).tolist()
            parts = [b"".join([_varint(value) for value in row]) for row in rows]
            columns.append([_head_of(name, first, len(part)) for part in parts])
            columns.append(parts)
        else:
            return None
    return [b"".join(pieces) for pieces in zip(*columns, strict=True)]


def _head_of(name: str, array: np.ndarray, size: int) -> bytes:
    key = (name, array.dtype, array.shape, size)
    found = _heads.get(key)
    if found is None:
        found = _head(name, array, size)
        if len(_heads) >= _MOST_HEADS:
            _heads.clear()
        _heads[key] = found
    return found


def _head(name: str, array: np.ndarray, size: int) -> bytes:
    proto = tensor_pb2.TensorProto()
    write_head(proto, array)
    tensor: bytes = proto.SerializeToString()
    if size:
        tensor += header(_NUMBERS[FIELDS[proto.dtype]], size)
    key = name.encode()
    entry = header(_KEY, len(key)) + key + header(_VALUE, len(tensor) + size) + tensor
    return header(_OUTPUTS, len(entry) + size) + entry


_ONE_BYTE = [bytes([value]) for value in range(128)]


def _varint(value: int) -> bytes:
    if 0 <= value < 128:
        return _ONE_BYTE[value]
    value &= 2**64 - 1  # Negative ones have ten bytes.
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
