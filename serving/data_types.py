"""TensorFlow's data types by number, and the numpy type of each."""

from __future__ import annotations

import ml_dtypes
import numpy as np

STRING = 7
"""`DT_STRING`; the only supported type whose elements are not plain numbers."""


def _quantised(name: str, stored: type) -> np.dtype:
    """Return the type that TensorFlow's own Python has for a quantised one: a field of its name."""
    return np.dtype([(name, stored)])


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
    11: _quantised("qint8", np.int8),
    12: _quantised("quint8", np.uint8),
    13: _quantised("qint32", np.int32),
    14: np.dtype(ml_dtypes.bfloat16),
    15: _quantised("qint16", np.int16),
    16: _quantised("quint16", np.uint16),
    17: np.dtype(np.uint16),
    18: np.dtype(np.complex128),
    19: np.dtype(np.float16),
    22: np.dtype(np.uint32),
    23: np.dtype(np.uint64),
    24: np.dtype(ml_dtypes.float8_e5m2),
    25: np.dtype(ml_dtypes.float8_e4m3fn),
    26: np.dtype(ml_dtypes.float8_e4m3fnuz),
    27: np.dtype(ml_dtypes.float8_e4m3b11fnuz),
    28: np.dtype(ml_dtypes.float8_e5m2fnuz),
    29: np.dtype(ml_dtypes.int4),
    30: np.dtype(ml_dtypes.uint4),
    31: np.dtype(ml_dtypes.int2),
    32: np.dtype(ml_dtypes.uint2),
}
"""`DataType` (`types.proto`) to numpy; the C API's `TF_DataType` has the same numbers."""

DATA_TYPES: dict[np.dtype, int] = {dtype: number for number, dtype in NUMPY_TYPES.items()}
