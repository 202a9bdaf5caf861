"""The outputs of a model as the JSON body of a REST answer.

Formats, checks and texts follow TensorFlow Serving's `util/json_tensor.cc`; numbers have as many
digits as tell them from their neighbours. Large arrays are written in parts, with the GIL given up
in between.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np
import orjson

from ..data_types import DATA_TYPES
from ..errors import InvalidArgument
from .json_texts import special_texts, text_bytes
from .tensor_proto import data_type_name
from .turns import piece

_MOST_ELEMENTS = 50_000
"""Numbers that are written at once: a millisecond or two."""
_MOST_BYTES = 256 * 2**10
"""Of texts that are written at once."""
_MANY_PARTS = 100
"""Parts that are joined at once: of some MB together."""


def dump_outputs(outputs: Mapping[str, np.ndarray], *, by_row: bool) -> bytes:
    """Return the response body for a model's outputs.

    Raises:
        InvalidArgument: the outputs can't be told apart by row.
    """
    if not outputs:
        raise InvalidArgument("Cannot convert empty tensor map to JSON")
    if not by_row:
        if len(outputs) == 1:
            [(alias, array)] = outputs.items()
            return _joined([b'{\n    "outputs": ', *_parts(array, alias), b"\n}"])
        texts = tuple(_dump(array, alias) for alias, array in outputs.items())
        return b'{\n    "outputs": ' + _object(outputs) % texts + b"\n}"
    batch = None
    for alias, array in outputs.items():
        if not array.ndim:
            raise InvalidArgument(f"Tensor name: {alias} has no shape information ")
        if batch is not None and len(array) != batch:
            raise InvalidArgument(
                f"Tensor name: {alias} has inconsistent batch size: {len(array)} expecting: {batch}"
            )
        batch = len(array)
    if len(outputs) == 1:
        [(alias, array)] = outputs.items()
        *parts, last = _parts(array, alias)
        return _joined([b'{\n    "predictions": ', *parts, last[:-1], b"\n    ]\n}"])
    return _predictions(_row_objects(outputs))


def dump_each(outputs: Mapping[str, np.ndarray], count: int, *, by_row: bool) -> list[bytes]:
    """Return the response bodies of several requests.

    Args:
        outputs: alias to array, whose rows are those of the requests, as many of each.
        count: of requests.
        by_row: as for `dump_outputs`.

    Raises:
        InvalidArgument: see there.
    """
    if count == 1:
        return [dump_outputs(outputs, by_row=by_row)]
    if by_row and len(outputs) > 1:
        rows = _row_objects(outputs)
        per_request = len(rows) // count
        return [
            _predictions(rows[start : start + per_request])
            for start in range(0, len(rows), per_request)
        ]
    columns = []
    for alias, array in outputs.items():
        shape = (count, len(array) // count, *array.shape[1:])
        columns.append(_rows(array.reshape(shape), alias))
    if by_row:
        return [b'{\n    "predictions": %s\n    ]\n}' % text[:-1] for text in columns[0]]
    form = b"%s" if len(outputs) == 1 else _object(outputs)
    return [b'{\n    "outputs": ' + form % texts + b"\n}" for texts in zip(*columns, strict=True)]


def _row_objects(outputs: Mapping[str, np.ndarray]) -> list[bytes]:
    """Return the JSON of each row of several outputs."""
    template = _object(outputs, indent=8)
    columns = [_rows(array, alias) for alias, array in outputs.items()]
    return [template % row for row in zip(*columns, strict=True)]


def _predictions(rows: list[bytes]) -> bytes:
    return b'{\n    "predictions": [' + b", ".join(rows) + b"\n    ]\n}"


def _joined(parts: list[bytes]) -> bytes:
    """Return an answer from its parts: a large one is a bytearray, which grows without a copy."""
    if len(parts) < _MANY_PARTS:
        return b"".join(parts)
    text = bytearray()
    for part in parts:
        text += part
    return cast(bytes, text)


def float_texts(values: np.ndarray) -> list[bytes]:
    """Return the numbers of a flat array."""
    return _dump_numbers(values)[1:-1].split(b",") if len(values) else []


def _object(aliases: Iterable[str], indent: int = 4) -> bytes:
    """Return an object with `%s` for each value."""
    inner = b"\n" + b" " * (indent + 4)
    lines = b",".join(inner + _name(alias) + b": %s" for alias in aliases)
    return b"{" + lines + b"\n" + b" " * indent + b"}"


def _name(alias: str) -> bytes:
    return text_bytes(alias.encode(errors="surrogateescape")).replace(b"%", b"%%")


def _rows(array: np.ndarray, alias: str) -> list[bytes]:
    """Return the JSON of each row."""
    if not array.size or array.dtype == object:
        return [_dump(row, alias) for row in _each(array)]
    separator = b"]" * (array.ndim - 1) + b"," + b"[" * (array.ndim - 1)
    text = _dump(array, alias)
    rows = text[array.ndim : len(text) - array.ndim].split(separator)
    opened, closed = b"[" * (array.ndim - 1), b"]" * (array.ndim - 1)
    return [opened + row + closed for row in rows] if opened else rows


def _each(array: np.ndarray) -> list[np.ndarray]:
    """Return the rows as arrays, be they of one element."""
    return [
        array[position : position + 1].reshape(array.shape[1:]) for position in range(len(array))
    ]


def _dump(array: np.ndarray, alias: str) -> bytes:
    """Return an array as JSON on one line."""
    return b"".join(_parts(array, alias))


def _parts(array: np.ndarray, alias: str) -> list[bytes]:
    """Return an array as JSON on one line, in parts; the last ends with the last bracket."""
    if not array.ndim:
        return [_dump(array.reshape(1), alias)[1:-1]]
    texts = array.dtype == object
    most = _most_texts(array) if texts else _MOST_ELEMENTS
    if array.size <= most:
        return [_dump_texts(array, alias) if texts else _dump_numbers(array)]
    step = most * len(array) // array.size
    parts: list[bytes] = []
    if step:
        for start in range(0, len(array), step):
            part = array[start : start + step]
            with piece():
                text = _dump_texts(part, alias) if texts else _dump_numbers(part)
                parts += (b",", text[1:-1])
    else:
        for row in _each(array):
            parts += (b",", *_parts(row, alias))
    parts[0] = b"["
    parts.append(b"]")
    return parts


def _most_texts(array: np.ndarray) -> int:
    """Return how many texts are written at once, by the length of the first ones."""
    first = array.ravel()[:100]
    return max(1, min(5000, _MOST_BYTES * len(first) // (sum(map(len, first)) + 1)))


def _dump_numbers(array: np.ndarray) -> bytes:
    if not array.size:
        # Of any type: what isn't there needs no form.
        array = np.empty(array.shape, np.uint8)
    if array.dtype.kind not in "biuf" or (array.dtype.kind == "f" and array.itemsize == 1):
        name = data_type_name(DATA_TYPES[array.dtype])
        raise InvalidArgument(f"Failed to write JSON value for tensor type: {name}")
    text = orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)
    if array.dtype.kind == "f" and b"null" in text:
        # JSON has no NaN and no infinity; TensorFlow Serving's clients know them.
        finite = text.split(b"null")
        special = special_texts(array[~np.isfinite(array)])
        text = finite[0] + b"".join(a + b for a, b in zip(special, finite[1:], strict=True))
    return text


def _base64(value: bytes) -> bytes:
    if len(value) <= _MOST_BYTES:
        return b2a_base64(value, newline=False)
    # Of whole groups of three bytes.
    step = _MOST_BYTES // 3 * 3
    return b"".join(
        b2a_base64(value[start : start + step], newline=False)
        for start in range(0, len(value), step)
    )


def _dump_texts(array: np.ndarray, alias: str) -> bytes:
    flat = array.ravel()
    texts: list[Any]
    if alias.endswith("_bytes"):
        texts = [orjson.Fragment(b'{"b64":"%s"}' % _base64(value)) for value in flat]
    else:
        try:
            texts = [value.decode() for value in flat]
        except UnicodeDecodeError:
            texts = [orjson.Fragment(text_bytes(value)) for value in flat]
    nested = np.empty(len(flat), dtype=object)
    nested[:] = texts
    return orjson.dumps(nested.reshape(array.shape).tolist())
