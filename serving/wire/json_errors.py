"""Errors over REST: how they show the JSON that is wrong, and the body that carries them.

Texts follow TensorFlow Serving's `util/json_tensor.cc`.
"""

from __future__ import annotations

import json
from typing import Any

from ..errors import InvalidArgument

Json = Any
"""What `json` decodes to."""

_SHOWN_CHARACTERS = 256


def dump(value: Json) -> str:
    """Return JSON with TensorFlow Serving's indentation."""
    return json.dumps(value, indent=4, ensure_ascii=False)


def shown(value: Json) -> str:
    """Return a value as error texts show it."""
    return dump(value)[:_SHOWN_CHARACTERS]


def type_name(value: Json) -> str:
    """Return rapidjson's name for the type of a value."""
    if isinstance(value, bool):
        return str(value)
    names = {type(None): "Null", dict: "Object", list: "Array", str: "String"}
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
