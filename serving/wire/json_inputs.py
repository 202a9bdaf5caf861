"""The inputs of a REST request, by row or by column: which value is of which input and row.

Formats, checks and texts follow TensorFlow Serving's `util/json_tensor.cc`.
"""

from __future__ import annotations

import math

import numpy as np

from ..errors import InvalidArgument, ServingError
from ..models.signature import Signature
from . import json_document
from .json_arrays import convert_rows, in_parts, is_object, listed, read_numbers, to_array
from .json_document import Long
from .json_errors import element_error, format_error, shown
from .json_numbers import Irregular, Numbers, Quick
from .json_parser import Json


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
        return {aliases[0]: read_numbers(rows, signature.inputs[aliases[0]].dtype, by_row=True)}
    if isinstance(rows, Irregular):
        return {aliases[0]: _stack(rows, signature.inputs[aliases[0]].dtype, "")}
    by_name = is_object(rows[0])
    for position, row in enumerate(rows):
        if is_object(row) != by_name:
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
    for rows in in_parts(values):
        part = convert_rows(rows, data_type)
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
            array = to_array(value, data_type)
        except ServingError as error:
            raise element_error(position, key, error.message, error.code.name) from None
        if shape is None:
            shape = array.shape
        elif array.size != math.prod(shape):
            text = f"Expecting tensor size: {math.prod(shape)} but got: {array.size}"
            raise element_error(position, key, text)
        elif array.shape != shape:
            text = f"Expecting shape {listed(shape)} but got: {listed(array.shape)}"
            raise element_error(position, key, text)


def _read_columns(value: Json, signature: Signature) -> dict[str, np.ndarray]:
    if is_object(value):
        for alias in signature.inputs:
            if alias not in value:
                raise InvalidArgument(f"Missing named input: {alias} in 'inputs' object.")
        return {
            alias: to_array(value[alias], info.dtype) for alias, info in signature.inputs.items()
        }
    if len(signature.inputs) > 1:
        raise InvalidArgument(
            "inputs is a plain value/list, but expecting an object as multiple input tensors "
            "required as per tensorinfo_map"
        )
    [(alias, info)] = signature.inputs.items()
    return {alias: to_array(value, info.dtype)}
