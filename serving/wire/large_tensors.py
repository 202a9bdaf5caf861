"""Messages with large tensors, read and written without protobuf, which would hold up all Python.

A scanner takes the values of tensors out of a serialised message, as views or by numpy. What is
left is small, and protobuf reads it. Whatever the scanner doesn't expect, protobuf reads as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from ..data_types import DATA_TYPES, STRING
from . import varints
from .tensor_proto import FIELDS, FIXED_WIDTH, Values, header, write_head

Pieces = list[bytes | memoryview]

_LENGTH_DELIMITED = 2
_FIXED_BYTES = {1: 8, 5: 4}
"""Wire type to the length of its values."""

_TENSOR_FIELDS = {field.number: field.name for field in tensor_pb2.TensorProto.DESCRIPTOR.fields}
_TENSOR_NUMBERS = {name: number for number, name in _TENSOR_FIELDS.items()}
_INTEGERS = {"int_val", "int64_val", "bool_val", "half_val", "uint32_val", "uint64_val"}
_BYTES = {"tensor_content", "float8_val", "string_val"}
_INPUTS = predict_pb2.PredictRequest.DESCRIPTOR.fields_by_name["inputs"].number
_OUTPUTS = predict_pb2.PredictResponse.DESCRIPTOR.fields_by_name["outputs"].number
_STRING_TAG = _TENSOR_NUMBERS["string_val"] << 3 | _LENGTH_DELIMITED
_KEY, _VALUE = 1, 2
"""Fields of an entry of a map."""

_MOST_FIELDS = 1000
"""Without values, of a request or a tensor."""


def read_request(data: bytes) -> tuple[predict_pb2.PredictRequest, dict[str, Values]]:
    """Return a request without the values of its inputs, and these by the input's name.

    Raises:
        ValueError: it is not as simple as this; protobuf knows what it is.
    """
    rest: Pieces = []
    found: dict[str, Values] = {}
    for number, wire_type, field, content in _fields(memoryview(data)):
        if number != _INPUTS or wire_type != _LENGTH_DELIMITED:
            _keep(rest, field)
            continue
        parts = list(_fields(content))
        if [part[:2] for part in parts] != [(_KEY, _LENGTH_DELIMITED), (_VALUE, _LENGTH_DELIMITED)]:
            raise ValueError("no entry of a map as it is usually written")
        name = bytes(parts[0][3]).decode()
        if name in found:
            raise ValueError("an input twice")
        tensor, found[name] = _read_tensor(parts[1][3])
        rest += _delimited(_INPUTS, [parts[0][2], *_delimited(_VALUE, [tensor])])
    return predict_pb2.PredictRequest.FromString(b"".join(rest)), found


def _read_tensor(content: memoryview) -> tuple[bytes, dict[str, list[bytes | memoryview]]]:
    """Return a serialised `TensorProto` without its values, and these."""
    rest: Pieces = []
    values: dict[str, list[bytes | memoryview]] = {}
    position = 0
    copy = b""
    while position < len(content):
        if content[position] == _STRING_TAG:
            # Only once: each string may be followed by something else.
            copy = copy or content.tobytes()
            strings, position = _read_strings(copy, position)
            values.setdefault("string_val", []).extend(strings)
            continue
        number, wire_type, field, value, position = _field(content, position)
        name = _TENSOR_FIELDS.get(number, "")
        if name in FIXED_WIDTH or name in _INTEGERS or name in _BYTES:
            if wire_type != _LENGTH_DELIMITED:
                raise ValueError("numbers that are not packed")
            if len(value) % FIXED_WIDTH.get(name, 1):
                raise ValueError("part of a number")
            if name in _INTEGERS and len(value) and value[-1] > 127:
                raise ValueError("a varint without an end")
            values.setdefault(name, []).append(value)
        else:
            _keep(rest, field)
    return b"".join(rest), values


def _keep(rest: Pieces, field: memoryview) -> None:
    """Add a field to those that are left."""
    if len(rest) >= _MOST_FIELDS:
        # Scanned here, megabytes of fields of two bytes would take minutes.
        raise ValueError("more fields than a message has")
    rest.append(field)


def _read_strings(data: bytes, position: int) -> tuple[list[bytes], int]:
    """Return the strings in a row from a position, and where the next field is.

    There may be a million: as bytes, which the garbage collector need not look at.
    """
    strings: list[bytes] = []
    while position < len(data) and data[position] == _STRING_TAG:
        start = position + 2
        if start > len(data):
            raise ValueError("cut off")
        size = data[start - 1]
        if size > 127:
            size, start = _varint(data, position + 1)
        position = start + size
        if position > len(data):
            raise ValueError("cut off")
        strings.append(data[start:position])
    return strings, position


def _fields(data: memoryview) -> Iterator[tuple[int, int, memoryview, memoryview]]:
    """Yield number, wire type, all bytes and those of the value of each field of a message."""
    position = 0
    while position < len(data):
        *field, position = _field(data, position)
        yield tuple(field)  # type: ignore[misc]


def _field(data: memoryview, start: int) -> tuple[int, int, memoryview, memoryview, int]:
    """Return the same of the field that begins at a position, and where the next one is."""
    tag, position = _varint(data, start)
    number, wire_type = tag >> 3, tag & 7
    if wire_type == _LENGTH_DELIMITED:
        size, position = _varint(data, position)
    elif wire_type == 0:
        end = _varint(data, position)[1]
        size = end - position
    elif wire_type in _FIXED_BYTES:
        size = _FIXED_BYTES[wire_type]
    else:
        raise ValueError("a group, or garbage")
    value_at, position = position, position + size
    if position > len(data):
        raise ValueError("cut off")
    return number, wire_type, data[start:position], data[value_at:position], position


def _varint(data: bytes | memoryview, position: int) -> tuple[int, int]:
    """Return a number and where the next field is."""
    value, shift = 0, 0
    while shift < 64:
        if position == len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
    raise ValueError("a varint without an end")


def write_response(
    head: predict_pb2.PredictResponse, outputs: Mapping[str, np.ndarray], *, as_content: bool
) -> bytes:
    """Return a serialised response.

    Args:
        head: all of it but the outputs.
        outputs: name to array.
        as_content: fill `tensor_content` instead of the typed fields (strings: always typed).
    """
    pieces: Pieces = [head.SerializeToString()]
    for name, array in outputs.items():
        key = _delimited(_KEY, [name.encode()])
        tensor = _tensor_pieces(array, as_content=as_content)
        pieces += _delimited(_OUTPUTS, [*key, *_delimited(_VALUE, tensor)])
    return b"".join(pieces)


def _tensor_pieces(array: np.ndarray, *, as_content: bool) -> Pieces:
    """Return a serialised `TensorProto`."""
    head = tensor_pb2.TensorProto()
    write_head(head, array)
    pieces: Pieces = [head.SerializeToString()]
    data_type = DATA_TYPES[array.dtype]
    field = FIELDS[data_type]
    number = _TENSOR_NUMBERS[field]
    if data_type == STRING:
        heads: dict[int, bytes] = {}
        for value in array.flat:
            size = len(value)
            head_of_one = heads.get(size)
            if head_of_one is None:
                head_of_one = heads[size] = header(number, size)
            pieces.append(head_of_one)
            pieces.append(value)
    elif as_content:
        pieces += _delimited(_TENSOR_NUMBERS["tensor_content"], [_bytes_of(array)])
    elif field in _INTEGERS:
        pieces += _delimited(number, list(varints.encode(_integers(array, field))))
    else:
        pieces += _delimited(number, [_bytes_of(array)])
    return pieces


def _integers(array: np.ndarray, field: str) -> np.ndarray:
    """Return what a field of integers has for the elements of an array."""
    if field == "half_val":
        return np.ascontiguousarray(array).view(np.uint16)
    if array.dtype.fields:
        return np.ascontiguousarray(array).view(array.dtype[0])
    # Those of fewer than 8 bits are of no kind that numpy knows.
    return array if array.dtype.kind in "biu" else array.astype(np.int64)


def _bytes_of(array: np.ndarray) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _delimited(number: int, pieces: Pieces) -> Pieces:
    """Return a field with its tag and length before its value."""
    return [header(number, sum(map(len, pieces))), *pieces]
