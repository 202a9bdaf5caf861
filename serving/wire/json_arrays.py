"""JSON values to numpy arrays; of those that are none, the error says which element is wrong.

Checks and texts follow TensorFlow Serving's `util/json_tensor.cc`. Long lists are converted part by
part, so that no single call holds up the other threads for long.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, islice

import numpy as np

from ..data_types import NUMPY_TYPES, STRING
from ..errors import Code, InvalidArgument, ServingError
from .json_bytes import decode_base64, encode, is_base64
from .json_errors import element_error, shown, type_name
from .json_numbers import Irregular, Numbers
from .json_parser import Json
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


def in_parts(values: list[Json] | Irregular) -> Iterator[list[Json]]:
    """Return a list in parts that are quickly converted."""
    first = next(iter(values), None)
    step = max(1, _MOST_ELEMENTS // max(1, _count(first)))
    if isinstance(values, list) and len(values) <= step:
        yield values
        return
    rest = iter(values)
    while part := list(islice(rest, step)):
        yield part


def read_numbers(numbers: Numbers, data_type: int, *, by_row: bool) -> np.ndarray:
    """Return the array of numbers that were read at once.

    Raises:
        InvalidArgument: one is not of the type; where they are `by_row`, the error names its row.
    """
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


def to_array(value: Json, data_type: int) -> np.ndarray:
    """Return the array for a JSON value; raise InvalidArgument where it is none of the type."""
    if isinstance(value, Numbers):
        return read_numbers(value, data_type, by_row=False)
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
    for rows in in_parts(values):
        part = convert_rows(rows, data_type)
        if part is None or (parts and part.shape[1:] != parts[0].shape[1:]):
            return None
        parts.append(part)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def convert_rows(rows: list[Json], data_type: int) -> np.ndarray | None:
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
        for rows in in_parts(value):
            part = convert_rows(rows, data_type)
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


def is_object(value: Json) -> bool:
    """Say whether a value is an object that does not stand for bytes."""
    return isinstance(value, dict) and not is_base64(value)


def listed(shape: tuple[int, ...]) -> str:
    """Return a shape as TensorFlow writes it: `[2,3]`."""
    return "[" + ",".join(map(str, shape)) + "]"
