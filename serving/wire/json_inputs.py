"""The inputs of a REST request: JSON values to numpy, by row or by column.

Formats, checks and texts follow TensorFlow Serving's `util/json_tensor.cc`. Long lists are
converted part by part, so that no single call holds up the other threads for long.
"""

from __future__ import annotations

import binascii
import math
import struct
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, islice

import numpy as np

from ..data_types import NUMPY_TYPES, STRING
from ..errors import Code, InvalidArgument, ServingError
from ..models.signature import Signature
from . import json_document
from .json_document import Long
from .json_errors import element_error, format_error, shown, type_name
from .json_numbers import Irregular, Numbers, Quick
from .json_parser import WINDOW, Doubled, Json
from .tensor_proto import data_type_name

_INTEGERS: dict[np.dtype, np.iinfo] = {
    np.dtype(np.int32): np.iinfo(np.int32),
    # Range-checked as int32 and then cut, as TensorFlow Serving does.
    np.dtype(np.int16): np.iinfo(np.int32),
    np.dtype(np.int8): np.iinfo(np.int32),
    np.dtype(np.uint8): np.iinfo(np.int32),
    np.dtype(np.int64): np.iinfo(np.int64),
    np.dtype(np.uint32): np.iinfo(np.uint32),
    np.dtype(np.uint64): np.iinfo(np.uint64),
}
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_MOST_DIMENSIONS = 64
"""numpy's."""
_MOST_ELEMENTS = 20_000
"""Elements that are converted at once: a millisecond or two."""


def read_inputs(
    document: dict[str, Json], signature: Signature
) -> tuple[dict[str, np.ndarray], bool]:
    """Return the arrays for a signature's inputs, and whether the request is in row form.

    Raises:
        ServingError: the request does not fit the signature.
    """
    if isinstance(document, Quick):
        try:
            return _read(document, signature)
        except ServingError:
            document = json_document.parse_plain(document.content)
    try:
        return _read(document, signature)
    finally:
        if isinstance(document, Long):
            document.free()


def _read(document: dict[str, Json], signature: Signature) -> tuple[dict[str, np.ndarray], bool]:
    if not signature.inputs:
        raise InvalidArgument(f"Failed to get input map for signature: {signature.key}")
    if "instances" in document:
        rows = document["instances"]
        if "inputs" in document:
            raise format_error(
                document,
                "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to "
                "exist ",
            )
        if not isinstance(rows, list | Numbers | Irregular):
            raise format_error(document, "Expecting 'instances' to be an list/array")
        if rows == []:
            raise format_error(document, "No values in 'instances' array")
        return _read_rows(rows, signature), True
    if "inputs" in document:
        return _read_columns(document["inputs"], signature), False
    raise InvalidArgument("Missing 'inputs' or 'instances' key")


def _read_rows(
    rows: list[Json] | Numbers | Irregular, signature: Signature
) -> dict[str, np.ndarray]:
    aliases = sorted(signature.inputs)
    if len(aliases) > 1 and not (isinstance(rows, list) and isinstance(rows[0], dict)):
        raise InvalidArgument(
            "instances is a plain list, but expecting list of objects as multiple "
            "input tensors required as per tensorinfo_map"
        )
    if isinstance(rows, Numbers):
        return {aliases[0]: _read_numbers(rows, signature.inputs[aliases[0]].dtype, by_row=True)}
    if isinstance(rows, Irregular):
        return {aliases[0]: _stack(rows, signature.inputs[aliases[0]].dtype, "")}
    by_name = _is_object(rows[0])
    for position, row in enumerate(rows):
        if _is_object(row) != by_name:
            raise InvalidArgument(
                f"Expecting object but got list at item {position} of input list"
                if by_name
                else f"Expecting value/list but got object at item {position} of input list"
            )
    if not by_name:
        return {aliases[0]: _stack(rows, signature.inputs[aliases[0]].dtype, "")}
    for position, row in enumerate(rows):
        for name in row:
            if name not in signature.inputs:
                raise element_error(
                    position, f" key: {name}", f"JSON object: does not have named input: {name}"
                )
        if len(row) != len(aliases):
            raise InvalidArgument(
                f"Failed to process element: {position} of 'instances' list. JSON object: "
                f"{shown(row)} keys must be equal to: {','.join(aliases)}"
            )
    return {
        alias: _stack([row[alias] for row in rows], signature.inputs[alias].dtype, f" key: {alias}")
        for alias in aliases
    }


def _stack(values: list[Json] | Irregular, data_type: int, key: str) -> np.ndarray:
    """Return one value per row as one array; errors name the row."""
    parts: list[np.ndarray] = []
    position = 0
    for rows in _in_parts(values):
        part = _convert_rows(rows, data_type)
        shape = parts[0].shape[1:] if parts else None
        if part is None or shape not in (None, part.shape[1:]):
            _explain_rows(rows, position, shape, data_type, key)
            # Only reached for rows that the two disagree on; say so rather than guess.
            raise InvalidArgument(f"JSON Value: {shown(rows)} can't be made a tensor.")
        parts.append(part)
        position += len(rows)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _explain_rows(
    rows: list[Json], start: int, shape: tuple[int, ...] | None, data_type: int, key: str
) -> None:
    """Raise the error of the first row that does not fit, or differs from those before."""
    for position, value in enumerate(rows, start):
        try:
            array = _to_array(value, data_type)
        except ServingError as error:
            raise element_error(position, key, error.message, error.code.name) from None
        if shape is None:
            shape = array.shape
        elif array.size != math.prod(shape):
            text = f"Expecting tensor size: {math.prod(shape)} but got: {array.size}"
            raise element_error(position, key, text)
        elif array.shape != shape:
            text = f"Expecting shape {_listed(shape)} but got: {_listed(array.shape)}"
            raise element_error(position, key, text)


def _in_parts(values: list[Json] | Irregular) -> Iterator[list[Json]]:
    """Return a list in parts that are quickly converted."""
    first = next(iter(values), None)
    step = max(1, _MOST_ELEMENTS // max(1, _count(first)))
    if isinstance(values, list) and len(values) <= step:
        yield values
        return
    rest = iter(values)
    while part := list(islice(rest, step)):
        yield part


def _read_columns(value: Json, signature: Signature) -> dict[str, np.ndarray]:
    if _is_object(value):
        for alias in signature.inputs:
            if alias not in value:
                raise InvalidArgument(f"Missing named input: {alias} in 'inputs' object.")
        return {
            alias: _to_array(value[alias], info.dtype) for alias, info in signature.inputs.items()
        }
    if len(signature.inputs) > 1:
        raise InvalidArgument(
            "inputs is a plain value/list, but expecting an object as multiple input tensors "
            "required as per tensorinfo_map"
        )
    [(alias, info)] = signature.inputs.items()
    return {alias: _to_array(value, info.dtype)}


def _read_numbers(numbers: Numbers, data_type: int, *, by_row: bool) -> np.ndarray:
    convert = _from_numbers(NUMPY_TYPES[data_type])
    array = numbers.array(NUMPY_TYPES[data_type], convert) if convert else None
    if array is not None:
        return array
    wrong = next(
        part
        for part, values in enumerate(numbers.parts)
        if convert is None or convert(values) is None
    )
    first = sum(map(len, numbers.parts[:wrong]))
    for position, value in enumerate(numbers.tokens(wrong), first):
        try:
            _check_element(value, data_type)
        except ServingError as error:
            if not by_row:
                raise
            row = position // math.prod(numbers.shape[1:])
            raise element_error(row, "", error.message, error.code.name) from None
    # Of a short request the text is not at hand here, but whoever catches this has it.
    raise InvalidArgument("One of the numbers is not of the expected type.")


def _from_numbers(dtype: np.dtype) -> Callable[[np.ndarray], np.ndarray | None] | None:
    """Return what makes an array of `dtype` of int64, uint64 or float64, or None of wrong ones."""
    if dtype in _FLOATS:
        return partial(_as_float, dtype=dtype)
    return partial(_as_integer, dtype=dtype) if dtype in _INTEGERS else None


def _as_float(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    # By way of double, as rapidjson has it. What is too large becomes infinite.
    with np.errstate(over="ignore"):
        return values.astype(np.float64, copy=False).astype(dtype, copy=False)


def _as_integer(values: np.ndarray, dtype: np.dtype) -> np.ndarray | None:
    limits = _INTEGERS[dtype]
    if values.dtype.kind == "f":
        return None
    if len(values) and not limits.min <= int(values.min()) <= int(values.max()) <= limits.max:
        return None
    return values.astype(dtype, copy=False)


def _to_array(value: Json, data_type: int) -> np.ndarray:
    if isinstance(value, Numbers):
        return _read_numbers(value, data_type, by_row=False)
    array = _convert_in_parts(value, data_type) if isinstance(value, list) else None
    if array is None:
        array = _convert(value, data_type)
    if array is None:
        shape = _dense_shape(value)
        if len(shape) > _MOST_DIMENSIONS:
            raise InvalidArgument(
                f"A tensor of {len(shape)} dimensions is not served: "
                f"{_MOST_DIMENSIONS} are the most."
            )
        _explain(value, 0, shape, data_type)
        # Only reached for a value that the two disagree on; say so rather than guess.
        raise InvalidArgument(f"JSON Value: {shown(value)} can't be made a tensor.")
    return array


def _convert_in_parts(values: list[Json], data_type: int) -> np.ndarray | None:
    """Return the array for a list, or None when it is not a valid one."""
    parts: list[np.ndarray] = []
    for rows in _in_parts(values):
        part = _convert_rows(rows, data_type)
        if part is None or (parts and part.shape[1:] != parts[0].shape[1:]):
            return None
        parts.append(part)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _convert_rows(rows: list[Json], data_type: int) -> np.ndarray | None:
    """Return the array for a list of values, which may be `Numbers`; None: it is no valid one."""
    if Numbers not in set(map(type, rows)):
        return _convert(rows, data_type)
    arrays: list[np.ndarray] = []
    dtype = NUMPY_TYPES[data_type]
    convert = _from_numbers(dtype)
    for value in rows:
        if isinstance(value, Numbers):
            array = value.array(dtype, convert) if convert else None
        else:
            array = _convert(value, data_type)
        if array is None or (arrays and array.shape != arrays[0].shape):
            return None
        arrays.append(array)
    return np.stack(arrays)


def _count(value: Json) -> int:
    """Return about how many elements a list has."""
    return sum(map(_count, value[:1])) * len(value) if isinstance(value, list) else 1


def _convert(value: Json, data_type: int) -> np.ndarray | None:
    """Return the array for a JSON value, or None when it is not a valid one.

    Works on all elements at once; `_explain` then finds which one is wrong.
    """
    dtype = NUMPY_TYPES[data_type]
    flattened = _flatten(value)
    if flattened is None:
        return None
    shape, flat = flattened
    kinds = set(map(type, flat))
    if not kinds:
        # Without elements there is nothing to convert: any type will do.
        return np.empty(shape, dtype)
    if data_type == STRING:
        texts = _texts(flat, kinds)
        return None if texts is None else texts.reshape(shape)
    if dtype.kind == "b":
        return np.array(flat, dtype).reshape(shape) if kinds == {bool} else None
    if dtype in _INTEGERS:
        limits = _INTEGERS[dtype]
        if kinds != {int} or not limits.min <= min(flat) <= max(flat) <= limits.max:
            return None
        return np.array(flat, limits.dtype).astype(dtype).reshape(shape)
    if dtype not in _FLOATS or not kinds <= {int, float}:
        return None
    # A third of what np.array takes.
    wide = np.frombuffer(struct.pack(f"{len(flat)}d", *flat))
    return _as_float(wide, dtype).reshape(shape)


def _flatten(value: Json) -> tuple[tuple[int, ...], Sequence[Json]] | None:
    """Return shape and elements of nested lists; None where lists of one level differ."""
    shape: list[int] = []
    flat: Sequence[Json] = [value]
    while flat and isinstance(flat[0], list):
        if {list} != set(map(type, flat)) or len(lengths := set(map(len, flat))) != 1:
            return None
        shape.append(lengths.pop())
        flat = list(chain.from_iterable(flat)) if len(flat) > 1 else flat[0]
    if len(shape) > _MOST_DIMENSIONS or list in set(map(type, flat)):
        return None
    return tuple(shape), flat


def _texts(flat: Sequence[Json], kinds: set[type]) -> np.ndarray | None:
    """Return texts and `{"b64": ...}` as an array of bytes, or None."""
    if not kinds <= {str, dict}:
        return None
    texts = np.empty(len(flat), dtype=object)
    try:
        for position, element in enumerate(flat):
            texts[position] = (
                decode_base64(element) if isinstance(element, dict) else encode(element)
            )
    except ServingError:
        return None
    return texts


def _explain(value: Json, level: int, shape: tuple[int, ...], data_type: int) -> None:
    """Raise the error of the first element that does not fit; walks as TensorFlow Serving does."""
    if isinstance(value, Numbers):
        value = value.listed()
    if isinstance(value, Irregular):
        for rows in _in_parts(value):
            part = _convert_rows(rows, data_type)
            if part is None or part.shape[1:] != shape[1:]:
                for element in rows:
                    _explain(element, level + 1, shape, data_type)
        return
    if isinstance(value, list):
        if level >= len(shape):
            raise InvalidArgument(
                f"Encountered list at unexpected level: {level} expected < {len(shape)}"
            )
        if len(value) != shape[level]:
            raise InvalidArgument(
                f"Encountered list at unexpected size: {len(value)} at level: {level} "
                f"expected size: {shape[level]}"
            )
        for element in value:
            _explain(element, level + 1, shape, data_type)
        return
    if level != len(shape):
        raise InvalidArgument(
            f"JSON Value: {shown(value)} found at incorrect level: {level + 1} "
            f"in the JSON DOM. Expected at level: {len(shape)}"
        )
    _check_element(value, data_type)


def _check_element(value: Json, data_type: int) -> None:
    """Raise the error of an element that is not of a type."""
    if isinstance(value, dict) and data_type == STRING:
        decode_base64(value)
        return
    dtype = NUMPY_TYPES[data_type]
    name = data_type_name(data_type)
    if isinstance(value, dict) or (
        (data_type == STRING or dtype.kind == "b" or dtype in _INTEGERS or dtype in _FLOATS)
        and _convert(value, data_type) is None
    ):
        raise InvalidArgument(
            f"JSON Value: {shown(value)} Type: {type_name(value)} is not of expected type: {name}"
        )
    if not (data_type == STRING or dtype.kind == "b" or dtype in _INTEGERS or dtype in _FLOATS):
        raise ServingError(
            Code.UNIMPLEMENTED, f"Conversion of JSON Value: {shown(value)} to type: {name}"
        )


def _dense_shape(value: Json) -> tuple[int, ...]:
    shape: list[int] = []
    while isinstance(value, list | Irregular):
        shape.append(len(value))
        value = next(iter(value), None)
    return (*shape, *value.shape) if isinstance(value, Numbers) else tuple(shape)


def encode(text: str) -> bytes:
    """Return the bytes that a text of a request stands for."""
    return text.encode(errors="surrogateescape")


def decode_base64(value: dict[str, Json]) -> bytes:
    """Return the bytes of `{"b64": ...}`: absl's Base64Unescape.

    White space may be anywhere, padding may be missing, and may be of dots.

    Raises:
        InvalidArgument: it is something else.
    """
    if not is_base64(value):
        raise InvalidArgument(f"JSON Value: {shown(value)} not formatted correctly for base64 data")
    text = encode(value["b64"])
    # In parts of whole groups of four characters: 30 MB at once would take 40 ms.
    digits = b"".join(
        text[start : start + WINDOW].translate(None, b" \t\n\v\f\r")
        for start in range(0, len(text), WINDOW)
    )
    data = digits.rstrip(b"=.")
    padding = len(digits) - len(data)
    if len(data) % 4 == 1 or padding not in (0, -len(data) % 4) or b"=" in data:
        raise InvalidArgument("Unable to base64 decode")
    try:
        return b"".join(
            binascii.a2b_base64(_padded(data[start : start + WINDOW]), strict_mode=True)
            for start in range(0, len(data), WINDOW)
        )
    except binascii.Error:
        raise InvalidArgument("Unable to base64 decode") from None


def _padded(data: bytes) -> bytes:
    return data + b"=" * (-len(data) % 4)


def is_base64(value: Json) -> bool:
    """Whether a value stands for bytes."""
    return (
        isinstance(value, dict)
        and len(value) == 1
        and not isinstance(value, Doubled)
        and isinstance(value.get("b64"), str)
    )


def _is_object(value: Json) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def _listed(shape: tuple[int, ...]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"
