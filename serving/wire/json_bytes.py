"""Bytes in a JSON request: those of a text, and `{"b64": …}`."""

from __future__ import annotations

import binascii

from ..errors import InvalidArgument
from .json_errors import shown
from .json_parser import WINDOW, Doubled, Json


def encode(text: str) -> bytes:
    """Return the bytes that a text of a request stands for."""
    return text.encode(errors="surrogateescape")


def decode_base64(value: dict[str, Json]) -> bytes:
    """Return the bytes of `{"b64": ...}`: absl's Base64Unescape.

    White space may be anywhere, padding may be missing, and may be of dots.

    Raises:
        InvalidArgument: it is something else.
    """
    if not is_base64(value):
        raise InvalidArgument(f"JSON Value: {shown(value)} not formatted correctly for base64 data")
    text = encode(value["b64"])
    # In parts of whole groups of four characters: 30 MB at once would take 40 ms.
    digits = b"".join(
        text[start : start + WINDOW].translate(None, b" \t\n\v\f\r")
        for start in range(0, len(text), WINDOW)
    )
    data = digits.rstrip(b"=.")
    padding = len(digits) - len(data)
    if len(data) % 4 == 1 or padding not in (0, -len(data) % 4) or b"=" in data:
        raise InvalidArgument("Unable to base64 decode")
    try:
        return b"".join(
            binascii.a2b_base64(_padded(data[start : start + WINDOW]), strict_mode=True)
            for start in range(0, len(data), WINDOW)
        )
    except binascii.Error:
        raise InvalidArgument("Unable to base64 decode") from None


def _padded(data: bytes) -> bytes:
    return data + b"=" * (-len(data) % 4)


def is_base64(value: Json) -> bool:
    """Whether a value stands for bytes."""
    return (
        isinstance(value, dict)
        and len(value) == 1
        and not isinstance(value, Doubled)
        and isinstance(value.get("b64"), str)
    )
