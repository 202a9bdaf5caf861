"""Errors over REST: how they show the JSON that is wrong, and the body that carries them.

Texts follow TensorFlow Serving's `util/json_tensor.cc`.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import numpy as np

from ..errors import InvalidArgument
from .json_numbers import Irregular, Numbers
from .json_parser import Doubled, Json
from .json_texts import float_text, text_bytes

_SHOWN_CHARACTERS = 256
_LARGEST_FLOAT = float(np.finfo(np.float32).max)


def body(text: str) -> bytes:
    """Return the body of a response that is an error."""
    return b'{\n    "error": %s\n}' % text_bytes(text.encode(errors="surrogateescape"))


def shown(value: Json) -> str:
    """Return a value as error texts show it: no more than its beginning, however long it is."""
    if isinstance(value, float):
        short = not abs(value) > _LARGEST_FLOAT
        return float_text(value, np.float32 if short else np.float64)
    text = ""
    for part in _parts(value, "\n"):
        text += part
        if len(text) >= _SHOWN_CHARACTERS:
            break
    return text[:_SHOWN_CHARACTERS]


def _parts(value: Json, line: str) -> Iterator[str]:
    if isinstance(value, dict):
        members = value.members if isinstance(value, Doubled) else value.items()
        inner = line + "    "
        separator = "{" + inner
        for name, member in members:
            yield separator + _quoted(name) + ": "
            yield from _parts(member, inner)
            separator = "," + inner
        yield line + "}" if value else "{}"
    elif isinstance(value, list | Irregular):
        separator = "["
        for element in value:
            yield separator
            yield from _parts(element, line + "    ")
            separator = ", "
        yield "[]" if separator == "[" else "]"
    elif isinstance(value, Numbers):
        yield from _number_parts(value)
    elif isinstance(value, str):
        yield _quoted(value)
    else:
        yield _plain(value)


def _number_parts(numbers: Numbers) -> Iterator[str]:
    """Return lists of numbers, as far as anybody looks."""
    tokens = numbers.tokens()

    def parts(level: int) -> Iterator[str]:
        if level == len(numbers.shape):
            yield _plain(next(tokens))
            return
        for position in range(numbers.shape[level]):
            yield ", " if position else "["
            yield from parts(level + 1)
        yield "]"

    return parts(0)


def _plain(value: bool | int | float | None) -> str:
    if value is None:
        return "null"
    if not isinstance(value, float):
        return str(value).lower()
    if value != value or value in (float("inf"), float("-inf")):
        return float_text(value)
    if value and not 1e-6 <= abs(value) < 1e21:
        mantissa, _, exponent = repr(value).partition("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    text = f"{Decimal(repr(value)):f}"
    return text if "." in text else text + ".0"


def _quoted(text: str) -> str:
    return text_bytes(text.encode(errors="surrogateescape")).decode(errors="surrogateescape")


def type_name(value: Json) -> str:
    """Return rapidjson's name for the type of a value."""
    if isinstance(value, bool):
        return str(value)
    names = {type(None): "Null", str: "String", list: "Array", Numbers: "Array", Irregular: "Array"}
    if isinstance(value, dict):
        return "Object"
    return names.get(type(value), "Number")


def format_error(document: Json, text: str) -> InvalidArgument:
    """Return the error for a request that has not the form it should have."""
    return InvalidArgument(f"JSON Value: {shown(document)} {text}")


def element_error(
    position: int, key: str, text: str, code: str = "INVALID_ARGUMENT"
) -> InvalidArgument:
    return InvalidArgument(
        f"Failed to process element: {position}{key} of 'instances' list. Error: {code}: {text}"
    )
