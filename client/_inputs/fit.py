"""Make what the caller gives fit what a signature takes, or say why it cannot.

TF Serving itself reports a wrong shape as the failure of some operation inside the graph, so it is
compared here, with the metadata in hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidInput
from ..specs import DTYPES, Signature, TensorSpec, format_shape

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..specs import Array


def one_input(signature: Signature, name: str | None = None) -> TensorSpec:
    """Return the input `name` of `signature`, or its only one where no name is given.

    Raises:
        InvalidInput: it has none of this name; without a name: it takes none, or several.
    """
    if name is not None:
        if name not in signature.inputs:
            raise _unknown_input(signature, name)
        return signature.inputs[name]
    if len(signature.inputs) != 1:
        names = ", ".join(signature.inputs) or "none"
        raise InvalidInput(
            f"Signature {signature.name!r} has {len(signature.inputs)} inputs ({names}), not one. "
            "Name one, give all by name, or take another signature."
        )
    return next(iter(signature.inputs.values()))


def fit(
    signature: Signature, inputs: Mapping[str, npt.ArrayLike] | npt.ArrayLike
) -> dict[str, Array]:
    """Return arrays of the dtypes that `signature` takes, by input name.

    Missing inputs are left to the server: it knows defaults that the metadata over REST may not.

    Raises:
        InvalidInput: a name is unknown, or a value does not fit its input.
    """
    if not isinstance(inputs, Mapping):
        inputs = {one_input(signature).name: inputs}
    for name in inputs:
        if name not in signature.inputs:
            raise _unknown_input(signature, name)
    return {name: _fit_one(signature.inputs[name], value) for name, value in inputs.items()}


def fit_rows(
    signature: Signature, inputs: Mapping[str, Any]
) -> tuple[dict[str, Array], int | None, bool]:
    """Return what `fit` does, the number of rows, and whether a single row was given as such.

    A value that lacks the first dimension, which counts the examples, is one row and gets it. The
    number is None where inputs and outputs of the signature do not have a row for each example.

    Raises:
        InvalidInput: as `fit`.
    """
    single = False
    values = dict(inputs)
    for name, value in inputs.items():
        shape = signature.inputs[name].shape if name in signature.inputs else None
        try:
            given = np.shape(value)
        except ValueError:
            continue  # Rows of unequal length: for `fit` to say.
        if shape and not matches(given, shape) and matches(given, shape[1:]):
            values[name], single = [value], True
    arrays = fit(signature, values)
    specs = [*(signature.inputs[name] for name in arrays), *signature.outputs.values()]
    counts = {len(array) for array in arrays.values() if array.ndim}
    if len(counts) != 1 or not all(spec.shape and spec.shape[0] is None for spec in specs):
        return arrays, None, single
    return arrays, counts.pop(), single


def as_row(signature: Signature, inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the row that `inputs` mean, if all of them lack the first dimension; else None.

    Of a single value for an input of [?, 1] it makes a list: each row there has the shape [1].
    """
    row = dict(inputs)
    for name, value in inputs.items():
        shape = signature.inputs[name].shape if name in signature.inputs else None
        if not shape:
            return None
        try:
            missing = len(shape) - 1 - np.ndim(value)
        except ValueError:
            return None  # Rows of unequal length.
        if missing < 0:
            return None
        for _ in range(missing):
            row[name] = [row[name]]
    try:
        fit(signature, {name: [value] for name, value in row.items()})
    except InvalidInput:
        return None
    return row or None


def _unknown_input(signature: Signature, name: str) -> InvalidInput:
    return InvalidInput(
        f"Signature {signature.name!r} has no input {name!r}. "
        f"Its inputs are: {', '.join(signature.inputs) or 'none'}."
    )


def _fit_one(spec: TensorSpec, value: Any) -> Array:
    if spec.composite:
        raise InvalidInput(
            f"Input {spec.name!r} is a {spec.composite} tensor, which TensorFlow Serving does not "
            "take. Export a signature that takes its parts, such as values and row lengths."
        )
    try:
        array = np.asarray(value, object if spec.dtype == "string" else None)
    except ValueError as exc:
        raise InvalidInput(
            f"Input {spec.name!r} is not a regular array ({exc}). Give rows of equal length."
        ) from exc
    array = _as_strings(spec, array) if spec.dtype == "string" else _as_numbers(spec, array)
    if not matches(array.shape, spec.shape):
        raise InvalidInput(
            f"Input {spec.name!r} has shape {format_shape(array.shape)}, the model takes "
            f"{format_shape(spec.shape)}. Reshape it; the first dimension counts the examples."
        )
    return array


def _as_strings(spec: TensorSpec, array: Array) -> Array:
    result = np.empty(array.shape, object)
    for index, item in np.ndenumerate(array):
        if not isinstance(item, (str, bytes)):
            raise InvalidInput(
                f"Input {spec.name!r} takes strings, not {type(item).__name__}. "
                "Give str (sent as UTF-8) or bytes."
            )
        result[index] = item.encode() if isinstance(item, str) else item
    return result


def _as_numbers(spec: TensorSpec, array: Array) -> Array:
    if spec.dtype not in DTYPES.values() or spec.dtype.startswith("float8"):
        raise InvalidInput(
            f"Input {spec.name!r} has dtype {spec.dtype}, which this client cannot write. "
            "Export a signature that casts it from float32."
        )
    # bfloat16 is rounded from float32 where it is sent; arrays of ml_dtypes have its name.
    dtype = np.dtype("float32" if spec.dtype == "bfloat16" else spec.dtype)
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    # float64 to float32 loses digits and is wanted; 0.5 to an integer or 300 to uint8 is a mistake.
    if array.dtype.kind in "iub" and dtype.kind in "iu":
        cast = array.astype(dtype)
        if np.array_equal(cast, array):
            return cast
    elif np.can_cast(array.dtype, dtype, "same_kind"):
        with np.errstate(over="ignore"):
            return array.astype(dtype, copy=False)
    raise InvalidInput(
        f"Input {spec.name!r} takes {spec.dtype}, but some values of the given {array.dtype} "
        "array do not fit in it. Convert them."
    )


def matches(shape: tuple[int, ...], wanted: tuple[int | None, ...] | None) -> bool:
    """Whether a shape is one that is wanted, whose open sizes fit any."""
    if wanted is None:
        return True
    return len(shape) == len(wanted) and all(
        size is None or size == given for given, size in zip(shape, wanted, strict=True)
    )
