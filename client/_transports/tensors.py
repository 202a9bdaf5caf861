"""numpy arrays to TensorProto and back (tensorflow/core/framework/tensor.proto).

Numbers are sent as `tensor_content`, their raw little-endian bytes, which is both the smallest and
the fastest form. Servers answer in the typed fields unless told otherwise, so both are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidInput
from ..specs import DTYPES
from .messages import DATA_TYPE_NAMES, DATA_TYPE_NUMBERS

if TYPE_CHECKING:
    from ..specs import Array

_TF_NAMES = {ours: theirs for theirs, ours in DTYPES.items()}

#: In which field a tensor of this dtype comes when it is not in `tensor_content`.
_VALUE_FIELDS = {
    "float32": "float_val",
    "float64": "double_val",
    "float16": "half_val",
    "int8": "int_val",
    "int16": "int_val",
    "int32": "int_val",
    "int64": "int64_val",
    "uint8": "int_val",
    "uint16": "int_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "bool": "bool_val",
    "string": "string_val",
    "complex64": "scomplex_val",
    "complex128": "dcomplex_val",
    "bfloat16": "half_val",
    "float8_e5m2": "float8_val",
    "float8_e4m3fn": "float8_val",
}

#: Types that numpy has not, by the type of their bits.
_BITS = {"bfloat16": "uint16", "float8_e5m2": "uint8", "float8_e4m3fn": "uint8"}


def encode(array: Array, dtype: str, target: Any) -> None:
    """Fill the TensorProto `target` with `array`, which fits `dtype`, one of `DTYPES`."""
    if dtype == "bfloat16":
        array = _rounded(array)
    target.dtype = DATA_TYPE_NUMBERS[_TF_NAMES[dtype]]
    for size in array.shape:
        target.tensor_shape.dim.add(size=size)
    if dtype == "string":
        target.string_val.extend(array.ravel().tolist())
    else:
        little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
        target.tensor_content = little_endian.tobytes()


def decode(name: str, proto: Any) -> Array:
    """Return the tensor `proto` as an array that may be written to.

    Raises:
        InvalidInput: its dtype has no counterpart in numpy, or it holds too few or too many values.
    """
    tf_name = DATA_TYPE_NAMES.get(proto.dtype, str(proto.dtype))
    dtype = DTYPES.get(tf_name)
    if dtype is None:
        raise InvalidInput(
            f"Output {name!r} has dtype {tf_name}, which this client cannot read. "
            "Cast it in the model, or ask for another signature."
        )
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    count = int(np.prod(shape, dtype=np.int64))
    if proto.tensor_content:
        little_endian = np.dtype(_BITS.get(dtype, dtype)).newbyteorder("<")
        flat = np.frombuffer(proto.tensor_content, little_endian).astype(little_endian.name)
    else:
        flat = _from_values(getattr(proto, _VALUE_FIELDS[dtype]), dtype, count)
    if dtype in _BITS:
        flat = _widened(flat, dtype)
    if flat.size != count:
        raise InvalidInput(
            f"Output {name!r} holds {flat.size} values for shape {list(shape)}. "
            "The server's answer is damaged: look at what stands between it and this client."
        )
    return flat.reshape(shape)


def _from_values(values: Any, dtype: str, count: int) -> Array:
    flat: Array
    if dtype == "float16":
        # half_val holds the 16 bits of each number in an int32.
        flat = np.array(values, np.uint16).view(np.float16)
    elif dtype == "bfloat16":
        flat = np.array(values, np.uint16)
    elif dtype in _BITS:
        flat = np.frombuffer(values, np.uint8)
    elif dtype.startswith("complex"):
        # The real and the imaginary part of each number, one after the other.
        part = np.float32 if dtype == "complex64" else np.float64
        flat = np.array(values, part).view(dtype)
    else:
        flat = np.array(values, object if dtype == "string" else dtype)
    if 0 < flat.size < count:
        # TF leaves out the repetitions of the last value (Tensor::FromProto, tensor.cc) ...
        flat = np.concatenate([flat, np.repeat(flat[-1:], count - flat.size)])
    elif flat.size == 0 and count:
        # ... and all of them when they are zeros.
        flat = np.full(count, b"" if dtype == "string" else 0, flat.dtype)
    return flat


def _rounded(array: Array) -> Array:
    """Return float32 as the bits of the nearest bfloat16, which are their upper half."""
    floats = array.astype(np.float32)
    bits = floats.view(np.uint32)
    nearest = (bits + (0x7FFF + ((bits >> 16) & 1)).astype(np.uint32)) >> 16
    # NaN would become infinity.
    return np.where(np.isnan(floats), bits >> 16 | 0x40, nearest).astype(np.uint16)


def _widened(bits: Any, dtype: str) -> Any:
    """Return the float32 of the same values as numbers that numpy has no type for."""
    if dtype == "bfloat16":
        return (bits.astype(np.uint32) << 16).view(np.float32)
    if dtype == "float8_e5m2":  # The upper half of a float16.
        return (bits.astype(np.uint16) << 8).view(np.float16).astype(np.float32)
    # float8_e4m3fn: a sign, 4 bits of exponent with a bias of 7, 3 of fraction; no infinity, and
    # NaN where all of both are set.
    exponent, fraction = (bits >> 3) & 15, bits & 7
    steps = np.where(exponent, fraction + 8, fraction).astype(np.float32)
    values = np.ldexp(steps, np.maximum(exponent, 1).astype(np.int32) - 10)
    values = np.where(bits & 127 == 127, np.float32(np.nan), values)
    return np.where(bits & 128, -values, values).astype(np.float32)
