"""The inputs of a REST request: JSON values to numpy, by row or by column.

Formats, checks and texts follow TensorFlow Serving's `util/json_tensor.cc`.
"""

from __future__ import annotations

import base64
import binascii
import struct
from itertools import chain

import numpy as np

from ..data_types import NUMPY_TYPES, STRING
from ..errors import InvalidArgument, ServingError, Unimplemented
from ..models.signature import Signature
from .json_errors import Json, element_error, format_error, shown, type_name
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
_FLOATS = {np.dtype(np.float32): 24, np.dtype(np.float64): 53}
"""Float type to the bits of its significand: larger integers would lose digits."""


def read_inputs(
    document: dict[str, Json], signature: Signature
) -> tuple[dict[str, np.ndarray], bool]:
    """Return the arrays for a signature's inputs, and whether the request is in row form.

    Raises:
        ServingError: the request does not fit the signature.
    """
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
        if not isinstance(rows, list):
            raise format_error(document, "Expecting 'instances' to be an list/array")
        if not rows:
            raise format_error(document, "No values in 'instances' array")
        return _read_rows(rows, signature), True
    if "inputs" in document:
        return _read_columns(document["inputs"], signature), False
    raise InvalidArgument("Missing 'inputs' or 'instances' key")


def _read_rows(rows: list[Json], signature: Signature) -> dict[str, np.ndarray]:
    aliases = sorted(signature.inputs)
    if not isinstance(rows[0], dict) and len(aliases) > 1:
        raise InvalidArgument(
            "instances is a plain list, but expecting list of objects as multiple "
            "input tensors required as per tensorinfo_map"
        )
    by_name = _is_object(rows[0])
    for position, row in enumerate(rows):
        if _is_object(row) != by_name:
            raise InvalidArgument(
                f"Expecting object but got list at item {position} of input list"
                if by_name
                else f"Expecting value/list but got object at item {position} of input list"
            )
    if not by_name:
        return {aliases[0]: _stack(rows, aliases[0], signature, "")}
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
        alias: _stack([row[alias] for row in rows], alias, signature, f" key: {alias}")
        for alias in aliases
    }


def _stack(values: list[Json], alias: str, signature: Signature, key: str) -> np.ndarray:
    """Return one value per row as one array; errors name the row."""
    data_type = signature.inputs[alias].dtype
    whole = _convert(values, data_type)
    if whole is not None:
        return whole
    arrays: list[np.ndarray] = []
    for position, value in enumerate(values):
        try:
            array = _to_array(value, data_type)
        except ServingError as error:
            raise element_error(position, key, error.message, error.code.name) from None
        if arrays and array.size != arrays[0].size:
            text = f"Expecting tensor size: {arrays[0].size} but got: {array.size}"
            raise element_error(position, key, text)
        if arrays and array.shape != arrays[0].shape:
            text = f"Expecting shape {_listed(arrays[0].shape)} but got: {_listed(array.shape)}"
            raise element_error(position, key, text)
        arrays.append(array)
    return np.stack(arrays)


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


def _to_array(value: Json, data_type: int) -> np.ndarray:
    array = _convert(value, data_type)
    if array is None:
        _explain(value, 0, _dense_shape(value), data_type)
        # Only reached for a value that the two disagree on; say so rather than guess.
        raise InvalidArgument(f"JSON Value: {shown(value)} can't be made a tensor.")
    return array


def _convert(value: Json, data_type: int) -> np.ndarray | None:
    """Return the array for a JSON value, or None when it is not a valid one.

    Works on all elements at once; `_explain` then finds which one is wrong.
    """
    dtype = NUMPY_TYPES[data_type]
    if dtype in _FLOATS and (rows := _float_rows(value, dtype)) is not None:
        return rows
    try:
        elements = np.array(value, dtype=object)
    except ValueError:
        return None
    # Not `flat`, which refuses more than 32 dimensions.
    flat = elements.ravel()
    kinds = set(map(type, flat))
    if kinds & {list, type(None)}:
        return None
    if data_type == STRING:
        return _strings(elements, kinds)
    if dtype.kind == "b":
        return elements.astype(dtype) if kinds <= {bool} else None
    if dtype in _INTEGERS:
        if not kinds <= {int}:
            return None
        limits = _INTEGERS[dtype]
        if elements.size and not limits.min <= min(flat) <= max(flat) <= limits.max:
            return None
        return elements.astype(limits.dtype).astype(dtype)
    if dtype not in _FLOATS or not kinds <= {int, float}:
        return None
    try:
        wide = elements.astype(np.float64)
    except OverflowError:
        return None
    if int in kinds and _has_lossy_integer(elements, wide, _FLOATS[dtype]):
        return None
    if dtype == np.float64:
        return wide
    finite = wide[np.isfinite(wide)]
    if finite.size and np.abs(finite).max() > np.finfo(dtype).max:
        return None
    return wide.astype(dtype)


def _float_rows(value: Json, dtype: np.dtype) -> np.ndarray | None:
    """Return the array for a list of lists of floats, in half the time; None for anything else."""
    if not isinstance(value, list) or not all(isinstance(row, list) for row in value):
        return None
    shape = (len(value), len(value[0]) if value else 0)
    if not all(len(row) == shape[1] and {float}.issuperset(map(type, row)) for row in value):
        return None
    # A third of what np.array takes.
    data = struct.pack(f"{shape[0] * shape[1]}d", *chain.from_iterable(value))
    wide = np.frombuffer(data).reshape(shape)
    most = np.finfo(dtype).max
    # Not so for NaN either.
    if wide.size and -most <= wide.min() and wide.max() <= most:
        return wide.astype(dtype)
    return None


def _has_lossy_integer(elements: np.ndarray, wide: np.ndarray, bits: int) -> bool:
    suspects = elements[np.abs(wide) >= 2**bits]
    return any(type(element) is int for element in suspects.ravel())


def _strings(elements: np.ndarray, kinds: set[type]) -> np.ndarray | None:
    if not kinds <= {str, dict}:
        return None
    flat = np.empty(elements.size, dtype=object)
    for position, element in enumerate(elements.ravel()):
        try:
            flat[position] = (
                decode_base64(element) if isinstance(element, dict) else element.encode()
            )
        except (ServingError, UnicodeEncodeError):
            return None
    return flat.reshape(elements.shape)


def _explain(value: Json, level: int, shape: tuple[int, ...], data_type: int) -> None:
    """Raise the error of the first element that does not fit; walks as TensorFlow Serving does."""
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
    if isinstance(value, dict) and data_type == STRING:
        decode_base64(value)
        return
    dtype = NUMPY_TYPES[data_type]
    name = data_type_name(data_type)
    if (
        data_type != STRING
        and dtype.kind != "b"
        and dtype not in _INTEGERS
        and dtype not in _FLOATS
    ):
        raise Unimplemented(f"Conversion of JSON Value: {shown(value)} to type: {name}")
    if _convert(value, data_type) is None:
        if dtype in _FLOATS and type(value) in (int, float):
            raise InvalidArgument(
                f"Cannot convert JSON value: {shown(value)} to {name} without loss of precision."
            )
        raise InvalidArgument(
            f"JSON Value: {shown(value)} Type: {type_name(value)} is not of expected type: {name}"
        )


def _dense_shape(value: Json) -> tuple[int, ...]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return tuple(shape)


def decode_base64(value: dict[str, Json]) -> bytes:
    """Return the bytes of `{"b64": ...}`.

    Raises:
        InvalidArgument: it is something else.
    """
    if not is_base64(value):
        raise InvalidArgument(f"JSON Value: {shown(value)} not formatted correctly for base64 data")
    text = value["b64"].strip()
    try:
        # Padding may be missing, as for absl::Base64Unescape.
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidArgument("Unable to base64 decode") from None


def is_base64(value: Json) -> bool:
    """Whether a value stands for bytes."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _is_object(value: Json) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def _listed(shape: tuple[int, ...]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"
