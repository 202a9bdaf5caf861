"""The outputs of a model as the JSON body of a REST answer.

Formats, checks and texts follow TensorFlow Serving's `util/json_tensor.cc`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping

import numpy as np

from ..data_types import DATA_TYPES
from ..errors import InvalidArgument
from .tensor_proto import data_type_name


def dump_outputs(outputs: Mapping[str, np.ndarray], *, by_row: bool) -> str:
    """Return the response body for a model's outputs.

    Raises:
        InvalidArgument: the outputs can't be told apart by row.
    """
    if not outputs:
        raise InvalidArgument("Cannot convert empty tensor map to JSON")
    if not by_row:
        columns = [
            (alias, _nested(_element_texts(array, alias), array.shape))
            for alias, array in outputs.items()
        ]
        return '{\n    "outputs": %s\n}' % (
            columns[0][1] if len(columns) == 1 else _object(columns)
        )
    batch = None
    for alias, array in outputs.items():
        if not array.ndim:
            raise InvalidArgument(f"Tensor name: {alias} has no shape information ")
        if batch is not None and len(array) != batch:
            raise InvalidArgument(
                f"Tensor name: {alias} has inconsistent batch size: {len(array)} expecting: {batch}"
            )
        batch = len(array)
    by_alias: dict[str, list[str]] = {}
    for alias, array in outputs.items():
        texts = _element_texts(array, alias)
        by_alias[alias] = [_nested(texts, array.shape[1:]) for _ in range(len(array))]
    if len(by_alias) == 1:
        [rows] = by_alias.values()
    else:
        rows = [
            _object(list(zip(by_alias, row, strict=True)), indent=8)
            for row in zip(*by_alias.values(), strict=True)
        ]
    return '{\n    "predictions": [' + ", ".join(rows) + "\n    ]\n}"


def _object(members: list[tuple[str, str]], indent: int = 4) -> str:
    inner = "\n" + " " * (indent + 4)
    lines = ",".join(f"{inner}{json.dumps(alias)}: {text}" for alias, text in members)
    return "{" + lines + "\n" + " " * indent + "}"


def _nested(texts: Iterator[str], shape: tuple[int, ...]) -> str:
    """Take as many texts as an array of this shape has elements; return it as JSON on one line."""
    if not shape:
        return next(texts)
    return "[" + ", ".join(_nested(texts, shape[1:]) for _ in range(shape[0])) + "]"


def _element_texts(array: np.ndarray, alias: str) -> Iterator[str]:
    flat = array.ravel()
    match flat.dtype.kind:
        case "f" if flat.itemsize > 1:
            return iter(float_texts(flat))
        case "b":
            return ("true" if value else "false" for value in flat.tolist())
        case "i" | "u":
            return map(str, flat.tolist())
        case "O" if alias.endswith("_bytes"):
            return (json.dumps({"b64": base64.b64encode(value).decode()}) for value in flat)
        case "O":
            # Not UTF-8: the name of the output should have ended in _bytes.
            return (json.dumps(value.decode(errors="replace")) for value in flat)
    name = data_type_name(DATA_TYPES[flat.dtype])
    raise InvalidArgument(f"Failed to write JSON value for tensor type: {name}")


def float_texts(flat: np.ndarray) -> list[str]:
    """Return the shortest of %g and full precision that reads back as the same number."""
    if flat.dtype == np.float16:
        flat = flat.astype(np.float32)
    values = flat.tolist()
    texts = [f"{value:g}" for value in values]
    digits, read_back = "%.17g", list(map(float, texts))
    if flat.dtype == np.float32:
        digits = "%.9g"
        with np.errstate(over="ignore"):
            read_back = np.array(read_back).astype(np.float32).tolist()
    return [
        _with_point(text if back == value else digits % value)
        for text, back, value in zip(texts, read_back, values, strict=True)
    ]


def _with_point(text: str) -> str:
    return text if "." in text or "e" in text else _SPECIAL.get(text, text + ".0")


_SPECIAL = {"nan": "NaN", "-nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
