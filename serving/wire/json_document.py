"""The body of a REST request as a JSON document, parsed as TensorFlow Serving does.

Three parsers, which agree: simdjson for the usual request, one list of numbers; orjson for other
short ones; and rapidjson's rules in Python (`json_parser`) for long ones, and for whatever the
others refuse or might read differently.
"""

from __future__ import annotations

from functools import partial

import orjson

from ..errors import InvalidArgument
from . import json_numbers, json_parser
from .json_errors import shown
from .json_parser import WINDOW, Json, Reserve, free_of_charge, release
from .turns import pause_collector

MOST_AT_ONCE = 2**20
"""Bytes of a body that simdjson reads at once: in about two milliseconds."""


def parse(content: bytes, reserve: Reserve = free_of_charge) -> dict[str, Json]:
    """Parse the body of a request for predict; lists of numbers alone become `Numbers`.

    Args:
        content: the body.
        reserve: is told how many bytes of memory the objects of a long one take.

    Raises:
        InvalidArgument: no JSON object.
        ServingError: `reserve` refuses.
    """
    if len(content) <= MOST_AT_ONCE:
        found = json_numbers.read_document(content)
        if found is not None:
            return found
    long = len(content) > WINDOW
    read_list = partial(json_numbers.read_list, reserve=reserve) if long else None
    return _parse(content, read_list, reserve)


def parse_plain(content: bytes, reserve: Reserve = free_of_charge) -> dict[str, Json]:
    """Parse a body into lists, dictionaries, texts and numbers; otherwise as `parse`."""
    return _parse(content, None, reserve)


def _parse(
    content: bytes, read_list: json_parser.ReadList | None, reserve: Reserve
) -> dict[str, Json]:
    document = _parse_quickly(content) if len(content) <= WINDOW else None
    if document is not None:
        return document
    if not content:
        raise InvalidArgument("JSON Parse error: The document is empty")
    pause_collector(1)
    try:
        document = json_parser.parse(content, read_list, reserve)
    finally:
        pause_collector(-1)
    if not isinstance(document, dict):
        raise InvalidArgument(f"JSON Value: {shown(document)} Is not object")
    return document if len(content) <= WINDOW else Long(document)


class Long(dict[str, Json]):
    """A document of many objects: they are freed in parts, and the collector leaves them alone."""

    def __init__(self, document: dict[str, Json]) -> None:
        super().__init__(document)
        self._paused = True
        pause_collector(1)

    def free(self) -> None:
        """Let the objects go."""
        for value in self.values():
            for part in value.values() if isinstance(value, dict) else (value,):
                if isinstance(part, list):
                    release(part)
        self.clear()
        if self._paused:
            self._paused = False
            pause_collector(-1)

    __del__ = free


def _parse_quickly(content: bytes) -> dict[str, Json] | None:
    """Return the object that orjson reads; None: `json_parser` has to look.

    Of members of one name orjson keeps the last. They are of different names where there are as
    many names as colons; a colon in a text is no harm, for then `json_parser` reads it.
    """
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    try:
        quick = isinstance(document, dict) and _count_members(document) == content.count(b":")
    except RecursionError:
        return None  # It is nested more deeply than Python calls functions.
    return document if quick else None


def _count_members(value: Json) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(_count_members, value.values()))
    if isinstance(value, list) and not _PLAIN.issuperset(map(type, value)):
        return sum(map(_count_members, value))
    return 0


_PLAIN = {int, float, str, bool, type(None)}


def signature_name(document: dict[str, Json]) -> str:
    """Return the request's signature name; empty when it names none.

    Raises:
        InvalidArgument: it is not a string.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise InvalidArgument(
            f"JSON Value: {shown(document)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return name
