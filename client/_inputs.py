"""Make what the caller gives fit what a signature takes, or say why it cannot.

TF Serving itself reports a wrong shape as the failure of some operation inside the graph, so it is
compared here, with the metadata in hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ._exceptions import InvalidInput
from ._types import DTYPES, ModelMetadata, Signature, TensorSpec, format_shape

if TYPE_CHECKING:
    import numpy.typing as npt

    from ._types import Array

#: The contract of the MNIST example and of the managed service's client before it.
DEFAULT_SIGNATURE = "predict_object"
PREDICTIONS = "predictions"
PROBABILITIES = "probabilities"

#: What TF itself calls the signature of a model exported without a name for it.
_SERVING_DEFAULT = "serving_default"


def choose_signature(
    metadata: ModelMetadata, wanted: str | None, *, probabilities: bool = False
) -> Signature:
    """Return the signature `wanted`, or the one to use when the caller names none.

    That is the first of `predict_object`, `serving_default` and the others by name which has, if
    `probabilities` are needed, an output of that name.

    Raises:
        InvalidInput: there is none.
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
        if not probabilities or PROBABILITIES in signature.outputs:
            return signature
    if not candidates:
        raise InvalidInput(f"{model} has no signature. Export it with one.")
    raise InvalidInput(
        f"{model} gives no output {PROBABILITIES!r} in signature {', '.join(candidates)}. "
        f"Ask for no most probable classes, or take another signature of: {names}."
    )


def only_input(signature: Signature) -> TensorSpec:
    """Return the one input of `signature`.

    Raises:
        InvalidInput: it takes none, or several.
    """
    if len(signature.inputs) != 1:
        names = ", ".join(signature.inputs) or "none"
        raise InvalidInput(
            f"Signature {signature.name!r} has {len(signature.inputs)} inputs ({names}), not one. "
            "Take another signature, or call Client.predict with a mapping of input name to array."
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
        inputs = {only_input(signature).name: inputs}
    for name in inputs:
        if name not in signature.inputs:
            raise InvalidInput(
                f"Signature {signature.name!r} has no input {name!r}. "
                f"Its inputs are: {', '.join(signature.inputs) or 'none'}."
            )
    return {name: _fit_one(signature.inputs[name], value) for name, value in inputs.items()}


def _fit_one(spec: TensorSpec, value: Any) -> Array:
    try:
        array = np.asarray(value, object if spec.dtype == "string" else None)
    except ValueError as exc:
        raise InvalidInput(
            f"Input {spec.name!r} is no regular array ({exc}). Give rows of equal length."
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
        f"Input {spec.name!r} takes {spec.dtype}, and not all values of the {array.dtype} array "
        "given fit in it. Convert them."
    )


def _matches(shape: tuple[int, ...], wanted: tuple[int | None, ...] | None) -> bool:
    if wanted is None:
        return True
    return len(shape) == len(wanted) and all(
        size is None or size == given for given, size in zip(shape, wanted, strict=True)
    )
