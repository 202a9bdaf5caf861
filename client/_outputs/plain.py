"""Outputs as plain Python: numbers with as many digits as they have, bytes as text."""

from __future__ import annotations

from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Return a scalar or an array as plain Python.

    A float32 becomes the shortest number that gives the same float32 back: 430.9212, not
    430.92120361328125. Complex numbers become text.
    """
    if isinstance(value, str | bytes | None):
        return _text(value)
    array = np.asarray(value)
    if array.dtype.kind == "c":
        return _map(array.tolist(), str)
    if array.dtype.kind == "f" and array.dtype.itemsize < 8:
        return array.astype("U32").astype(np.float64).tolist()
    if array.dtype == object:
        return _map(array.tolist(), _text)
    return array.tolist()


def _text(value: Any) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _map(value: Any, convert: Any) -> Any:
    return [_map(item, convert) for item in value] if isinstance(value, list) else convert(value)
