"""`TF_Tensor` to numpy and back; string tensors are object arrays of `bytes`."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from ctypes import c_int64, c_size_t, c_void_p

import numpy as np

from ..data_types import DATA_TYPES, NUMPY_TYPES, STRING
from ..errors import Code, ServingError
from .c_api import Library

_TSTRING_BYTES = 24
"""sizeof(TF_TString), fixed by `tsl/platform/ctstring_internal.h`."""

_LARGE = 1 << 18
"""Bytes above which a copy, of about 20 us, lets other threads run Python meanwhile."""


def to_tensor(lib: Library, arrays: Sequence[np.ndarray]) -> int:
    """Copy arrays into one new `TF_Tensor`: one memcpy each, as TensorFlow's own FromProto does.

    A view into an array would need a callback from TensorFlow's threads when an output shares it.
    """
    first = arrays[0]
    shape = first.shape
    if len(arrays) > 1:
        shape = (sum(map(len, arrays)), *shape[1:])
    data_type = DATA_TYPES[first.dtype]
    dims = (c_int64 * len(shape))(*shape)
    width = _TSTRING_BYTES if data_type == STRING else first.itemsize
    tensor: int = lib.TF_AllocateTensor(data_type, dims, len(shape), math.prod(shape) * width)
    if not tensor:
        raise ServingError(
            Code.RESOURCE_EXHAUSTED, f"No memory for a tensor of shape {list(shape)}."
        )
    try:
        _fill(lib, tensor, arrays, data_type)
    except BaseException:
        lib.TF_DeleteTensor(tensor)
        raise
    return tensor


def _fill(lib: Library, tensor: int, arrays: Sequence[np.ndarray], data_type: int) -> None:
    address = lib.TF_TensorData(tensor)
    if data_type == STRING:
        # All first: a tensor with strings that were never made can't be deleted.
        for place in range(address, address + lib.TF_TensorByteSize(tensor), _TSTRING_BYTES):
            lib.TF_StringInit(place)
        for array in arrays:
            for value in array.flat:
                lib.TF_StringCopy(address, value, len(value))
                address += _TSTRING_BYTES
        return
    for array in arrays:
        if array.flags.c_contiguous:
            copy = _copy_slowly if array.nbytes > _LARGE else _copy
            copy(address, array.ctypes.data, array.nbytes)
        elif array.nbytes:
            # One value for the whole of a shape takes its memory only here.
            target = (ctypes.c_char * array.nbytes).from_address(address)
            np.frombuffer(memoryview(target), array.dtype).reshape(array.shape)[...] = array
        address += array.nbytes


_copy_slowly = ctypes.memmove
_copy = ctypes.PyDLL(None).memmove
_copy.restype = c_void_p
_copy.argtypes = [c_void_p, c_void_p, c_size_t]


def to_array(lib: Library, tensor: int) -> np.ndarray:
    """Copy a `TF_Tensor` into an array that outlives it."""
    data_type = lib.TF_TensorType(tensor)
    shape = [lib.TF_Dim(tensor, axis) for axis in range(lib.TF_NumDims(tensor))]
    address = lib.TF_TensorData(tensor)
    size = lib.TF_TensorByteSize(tensor)
    if data_type != STRING:
        dtype = NUMPY_TYPES.get(data_type)
        if dtype is None:
            raise ServingError(Code.UNIMPLEMENTED, f"Output of data type {data_type}.")
        if size > _LARGE:
            array = np.empty(shape, dtype)
            _copy_slowly(array.ctypes.data, address, size)
            return array
        return np.frombuffer(ctypes.string_at(address, size), dtype).reshape(shape)
    values = np.empty(size // _TSTRING_BYTES, dtype=object)
    for position in range(values.size):
        values[position] = ctypes.string_at(
            lib.TF_StringGetDataPointer(address), lib.TF_StringGetSize(address)
        )
        address += _TSTRING_BYTES
    return values.reshape(shape)
