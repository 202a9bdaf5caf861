"""TensorFlow's data types by number, and the numpy type of each."""

from __future__ import annotations

import ml_dtypes
import numpy as np

STRING = 7
"""`DT_STRING`; the only supported type whose elements are not plain numbers."""

NUMPY_TYPES: dict[int, np.dtype] = {
    1: np.dtype(np.float32),
    2: np.dtype(np.float64),
    3: np.dtype(np.int32),
    4: np.dtype(np.uint8),
    5: np.dtype(np.int16),
    6: np.dtype(np.int8),
    STRING: np.dtype(object),
    8: np.dtype(np.complex64),
    9: np.dtype(np.int64),
    10: np.dtype(np.bool_),
    14: np.dtype(ml_dtypes.bfloat16),
    17: np.dtype(np.uint16),
    18: np.dtype(np.complex128),
    19: np.dtype(np.float16),
    22: np.dtype(np.uint32),
    23: np.dtype(np.uint64),
}
"""`DataType` (`types.proto`) to numpy; the C API's `TF_DataType` has the same numbers."""

DATA_TYPES: dict[np.dtype, int] = {dtype: number for number, dtype in NUMPY_TYPES.items()}
