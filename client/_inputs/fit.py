"""Make what the caller gives fit what a signature takes, or say why it cannot.

TF Serving itself reports a wrong shape as the failure of some operation inside the graph, so it is
compared here, with the metadata in hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidInput
from ..specs import DTYPES, ModelMetadata, Signature, TensorSpec, format_shape

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..specs import Array

#: The contract of the MNIST example and of the managed service's client before it.
DEFAULT_SIGNATURE = "predict_object"
PREDICTIONS = "predictions"
PROBABILITIES = "probabilities"
#: Of the text example: the name of each class in `predictions`.
LABELS = "labels"

#: What TF itself calls the signature of a model exported without a name for it.
_SERVING_DEFAULT = "serving_default"


def choose_signature(
    metadata: ModelMetadata,
    wanted: str | None,
    *,
    input: str | None = None,
    output: str | None = None,
    text: bool = False,
) -> Signature:
    """Return the signature `wanted`, or the one to use when the caller names none.

    The one to use is the first of `predict_object`, `serving_default` and the others by name that
    has the given `input` and `output` and, for `text`, an input of strings.

    Raises:
        InvalidInput: no signature fits.
    """
    names = ", ".join(metadata.signatures) or "none"
    model = f"Model {metadata.model!r} version {metadata.version}"
    if wanted is not None:
        if wanted not in metadata.signatures:
            raise InvalidInput(f"{model} has no signature {wanted!r}. Take one of: {names}.")
        candidates = [wanted]
    else:
        first = [DEFAULT_SIGNATURE, _SERVING_DEFAULT]
        rest = [name for name in metadata.signatures if name not in first]
        candidates = [name for name in first if name in metadata.signatures] + rest
    for name in candidates:
        signature = metadata.signatures[name]
        if (
            (input is None or input in signature.inputs)
            and (output is None or output in signature.outputs)
            and (not text or _has_input_of_text(signature, input))
        ):
            return signature
    if not candidates:
        raise InvalidInput(f"{model} has no signature. Export it with one.")
    lacks = [f"takes no input {input!r}"] if input is not None else []
    lacks += [f"gives no output {output!r}"] if output is not None else []
    lacks += ["takes no text"] if text else []
    advice = f"Ask for what `metadata` lists, or take another signature of: {names}."
    if text and input is None:
        advice += " An input whose name ends in _bytes has to be named to take text."
    raise InvalidInput(
        f"{model} {' or '.join(lacks)} in signature {', '.join(candidates)}. {advice}"
    )


def takes_text(spec: TensorSpec, *, named: bool = False) -> bool:
    """Return whether an input takes one text for each example.

    Names of inputs for anything but text, such as encoded pictures, end in `_bytes` (TF Serving's
    api_rest.md). An input that the user has `named` takes text whatever its name is.
    """
    strings = spec.dtype == "string" and (spec.shape is None or len(spec.shape) == 1)
    return strings and (named or not spec.name.endswith("_bytes"))


def _has_input_of_text(signature: Signature, name: str | None) -> bool:
    specs = [spec for spec in signature.inputs.values() if name is None or spec.name == name]
    return any(takes_text(spec, named=name is not None) for spec in specs)


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
        if shape and not _matches(given, shape) and _matches(given, shape[1:]):
            values[name], single = [value], True
    arrays = fit(signature, values)
    specs = [*(signature.inputs[name] for name in arrays), *signature.outputs.values()]
    counts = {len(array) for array in arrays.values() if array.ndim}
    if len(counts) != 1 or not all(spec.shape and spec.shape[0] is None for spec in specs):
        return arrays, None, single
    return arrays, counts.pop(), single


def _unknown_input(signature: Signature, name: str) -> InvalidInput:
    return InvalidInput(
        f"Signature {signature.name!r} has no input {name!r}. "
        f"Its inputs are: {', '.join(signature.inputs) or 'none'}."
    )


def _fit_one(spec: TensorSpec, value: Any) -> Array:
    try:
        array = np.asarray(value, object if spec.dtype == "string" else None)
    except ValueError as exc:
        raise InvalidInput(
            f"Input {spec.name!r} is not a regular array ({exc}). Give rows of equal length."
        ) from exc
    array = _as_strings(spec, array) if spec.dtype == "string" else _as_numbers(spec, array)
    if not _matches(array.shape, spec.shape):
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
    if spec.dtype not in DTYPES.values():
        raise InvalidInput(
            f"Input {spec.name!r} has dtype {spec.dtype}, which this client cannot write. "
            "Export a signature that casts it from float32."
        )
    dtype = np.dtype(spec.dtype)
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


def _matches(shape: tuple[int, ...], wanted: tuple[int | None, ...] | None) -> bool:
    if wanted is None:
        return True
    return len(shape) == len(wanted) and all(
        size is None or size == given for given, size in zip(shape, wanted, strict=True)
    )
