"""Numbers and texts as JSON, as TensorFlow Serving's rapidjson and absl write them."""

from __future__ import annotations

import re

import numpy as np
import orjson

_SPECIAL = {"nan": "NaN", "-nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_ESCAPED = re.compile(rb'["\\\x00-\x1f]')
_ESCAPES = {
    **{bytes((code,)): b"\\u%04X" % code for code in range(32)},
    b"\b": b"\\b",
    b"\t": b"\\t",
    b"\n": b"\\n",
    b"\f": b"\\f",
    b"\r": b"\\r",
    b'"': b'\\"',
    b"\\": b"\\\\",
}


def text_bytes(value: bytes) -> bytes:
    """Return a text as JSON: UTF-8 as it is, and so is what is no UTF-8."""
    try:
        return orjson.dumps(value.decode())
    except UnicodeDecodeError:
        return b'"' + _ESCAPED.sub(lambda found: _ESCAPES[found.group()], value) + b'"'


def float_text(value: float, dtype: type[np.floating] = np.float64) -> str:
    """Return %g, or all digits where that does not read back as the same number.

    Args:
        value: any number.
        dtype: float32 or float64: the type that it is of.
    """
    value = float(dtype(value))
    text = f"{value:g}"
    if text in _SPECIAL:
        return _SPECIAL[text]
    if float(dtype(text)) != value:
        text = f"{value:.9g}" if dtype is np.float32 else f"{value:.17g}"
    return text if "." in text or "e" in text else text + ".0"


def special_texts(values: np.ndarray) -> list[bytes]:
    """Return NaN and infinities, which are no JSON, as TensorFlow Serving's clients know them."""
    return [_SPECIAL[f"{value:g}"].encode() for value in values.tolist()]
