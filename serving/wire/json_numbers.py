"""Lists of numbers in JSON, however they are nested, without a Python object for each number.

simdjson reads them into doubles or integers: 32 pictures of MNIST in a third of the time that
orjson's lists take, [32, 28, 28, 1] in a tenth. Long lists are read piece by piece, with the GIL
given up in between.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import simdjson

from . import json_parser
from .json_parser import WINDOW, Json, Reserve, free_of_charge
from .turns import piece

_SPACES = b" \t\n\r"
_OF_NUMBERS = b"0123456789+-.eENaInfity"
_OF_LISTS = _OF_NUMBERS + _SPACES + b"[],"
_DIGITS = bytes.maketrans(_OF_NUMBERS, b"0" * len(_OF_NUMBERS))
_ONE_LIST = bytes.maketrans(b"[]", b"  ")
_TOKEN = re.compile(rb"[^, \t\n\r\[\]]+")
_MOST_DIMENSIONS = 64
"""numpy's."""
_SHORTEST_ROW = 32
"""Bytes; rows shorter on average are told apart by the structure of the text."""

Parsed = simdjson.Object | simdjson.Array
_SHORTEST_OBJECT = 1024
"""Bytes; rows that are objects shorter than that on average are quicker read by orjson."""

_of_this_thread = threading.local()


@dataclass(frozen=True, slots=True)
class Numbers:
    """A list, or lists of lists of one length each, of numbers alone."""

    shape: tuple[int, ...]
    parts: list[np.ndarray]
    """The numbers in order: int64 or uint64 where all of a part are whole in the text, else
    float64.
    """
    content: bytes = b""
    starts: tuple[int, ...] = ()
    """Where the text of each part begins in `content`; of a short request it is not kept."""
    end: int = 0

    def __len__(self) -> int:
        return self.shape[0]

    def array(
        self, dtype: np.dtype, convert: Callable[[np.ndarray], np.ndarray | None]
    ) -> np.ndarray | None:
        """Return them as an array; None where `convert`, to `dtype`, gives None for a part."""
        if len(self.parts) == 1:
            [part] = self.parts
            whole = convert(part)
            return None if whole is None else whole.reshape(self.shape)
        array = np.empty(math.prod(self.shape), dtype)
        position = 0
        for part in self.parts:
            converted = convert(part)
            if converted is None:
                return None
            array[position : position + len(part)] = converted
            position += len(part)
        return array.reshape(self.shape)

    def listed(self) -> list[Json]:
        """Return them as lists of int and float."""
        found: list[Json] = json_parser.parse(self.content[self.starts[0] : self.end])
        return found

    def tokens(self, part: int = 0) -> Iterator[int | float]:
        """Return the numbers one by one, whole ones as int, from the first of a part on."""
        for start in self.starts[part : part + 1]:
            for match in _TOKEN.finditer(self.content, start, self.end):
                value = json_parser.number(match.group())
                assert value is not None
                yield value


class Quick(dict[str, object]):
    """A request that `read_document` has read, whose errors the text itself will tell."""

    content: bytes
    count: int = 1
    """Requests that it is: see `json_together`."""


def read_document(content: bytes, lists: int | None = None) -> Quick | None:
    """Return a request whose inputs are numbers in lists; None: it is another one.

    Args:
        content: a short body.
        lists: how many opening brackets it has, where that is known.
    """
    try:
        document = _parsed(content)
        found = _Reader(content, lists).document(document)
    except (ValueError, TypeError, RuntimeError, UnicodeDecodeError):
        return None
    return found


class _Reader:
    """Reads the numbers of one document that simdjson has parsed, all of them or none.

    simdjson gives all numbers of nested lists at once, and tells nothing of the inner lists: that
    they are what they should be is known by the count of brackets.
    """

    def __init__(self, content: bytes, lists: int | None) -> None:
        self._content = content
        self._all_lists = lists
        self._lists = 0
        """How many brackets the lists have that were looked at."""

    def document(self, document: Parsed) -> Quick | None:
        if not isinstance(document, simdjson.Object):
            return None
        request = Quick()
        request.content = self._content
        for name in document:
            value: object = document[name]
            if name in request:
                return None
            if name in ("instances", "inputs"):
                value = self._inputs(value, by_row=name == "instances")
            elif name != "signature_name" or not isinstance(value, str):
                return None
            if value is None:
                return None
            request[name] = value
        if "instances" in request and "inputs" in request:
            return None  # An error that shows both.
        lists = self._all_lists
        if lists is None:
            lists = self._content.count(b"[")
        return request if lists == self._lists else None

    def _inputs(self, value: object, *, by_row: bool) -> object:
        if isinstance(value, simdjson.Object):
            return None if by_row else self._object(value)
        if not isinstance(value, simdjson.Array) or not len(value):
            return None
        if not by_row or not isinstance(value[0], simdjson.Object):
            return self._numbers(value)
        if len(value) * _SHORTEST_OBJECT > len(self._content):
            return None
        self._lists += 1
        rows = []
        for row in value:
            members = self._object(row) if isinstance(row, simdjson.Object) else None
            if members is None:
                return None
            rows.append(members)
        return rows

    def _object(self, value: simdjson.Object) -> dict[str, object] | None:
        members: dict[str, object] = {}
        for name in value:
            member = value[name]
            found: object = self._numbers(member) if isinstance(member, simdjson.Array) else member
            if name in members or type(found) not in (Numbers, int, float):
                return None
            members[name] = found
        return members

    def _numbers(self, lists: simdjson.Array) -> Numbers | None:
        shape: list[int] = []
        element: object = lists
        while isinstance(element, simdjson.Array):
            shape.append(len(element))
            if not shape[-1] or len(shape) > _MOST_DIMENSIONS:
                return None
            element = element[0]
        values = _values(lists, element)
        if values is None or len(values) != math.prod(shape):
            return None
        if len(shape) > 2 or (len(shape) == 2 and shape[0] * _SHORTEST_ROW > len(self._content)):
            if not self._is_regular(tuple(shape)):
                return None
        elif len(shape) == 2:
            if any(len(row) != shape[1] for row in lists):  # type: ignore[arg-type]
                return None
            self._lists += 1 + shape[0]
        else:
            self._lists += 1
        return Numbers(tuple(shape), [values])

    def _is_regular(self, shape: tuple[int, ...]) -> bool:
        """Whether the lists are what they should be, if they are the only ones."""
        content = self._content
        text = content[content.find(b"[") : content.rfind(b"]") + 1]
        structure = text.translate(None, _OF_NUMBERS + _SPACES)
        self._lists += structure.count(b"[")
        return _shape(structure) == shape


@dataclass(frozen=True, slots=True)
class Irregular:
    """A long list of numbers, or lists of them, that are of no one length: no tensor.

    It is kept as text: as objects it could take 30 times the memory, for an error.
    """

    content: bytes
    start: int

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Json]:
        return json_parser.elements(self.content, self.start)


def read_list(
    content: bytes, start: int, reserve: Reserve = free_of_charge
) -> tuple[Numbers | Irregular, int] | None:
    """Return the lists of numbers that begin at a position, and where they end.

    None: they hold something else.

    Raises:
        InvalidArgument: they are no JSON.
        ServingError: `reserve` refuses.
    """
    end = content.rfind(b"]", start, _end_of_numbers(content, start)) + 1
    shape = _shape(_structure(content, start, end))
    parts = _parts(content, start, end, reserve) if shape else None
    if shape and parts and sum(map(len, parts.values())) == math.prod(shape):
        return Numbers(shape, list(parts.values()), content, tuple(parts), end), end
    if end - start <= WINDOW:
        return None
    return Irregular(content, start), json_parser.check_list(content, start)


def _parts(content: bytes, start: int, end: int, reserve: Reserve) -> dict[int, np.ndarray] | None:
    """Return numbers by where their text begins; None: there is something else."""
    parts = {}
    for position, text in _pieces(content, start, end):
        with piece():
            part = _read_flat(text)
        if part is None:
            return None
        reserve(part.nbytes)
        parts[position] = part
    return parts


def _end_of_numbers(content: bytes, start: int) -> int:
    """Return where the first character is that belongs to no list of numbers."""
    size = 256
    while start < len(content):
        other = content[start : start + size].translate(None, _OF_LISTS)
        if other:
            return content.find(other[:1], start)
        start += size
        size = min(2 * size, WINDOW)
    return len(content)


def _pieces(content: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Return the text cut at commas: where a piece begins, and the piece as one flat list."""
    while start < end:
        stop = end
        if end - start > WINDOW:
            stop = content.rfind(b",", start, start + WINDOW)
            if stop < 0:
                stop = content.find(b",", start + WINDOW, end)
            if stop < 0:
                stop = end
        yield start, b"[" + content[start:stop].translate(_ONE_LIST) + b"]"
        start = stop + 1


def _read_flat(text: bytes) -> np.ndarray | None:
    try:
        found = _parsed(text)
        assert isinstance(found, simdjson.Array)
        values = _values(found, found[0])
        if values is not None:
            return values
    except (ValueError, TypeError, RuntimeError, IndexError):
        pass
    # NaN, infinities, integers beyond 64 bits; or no numbers at all.
    numbers: list[int | float] = []
    for token in text[1:-1].split(b","):
        value = json_parser.number(token.strip())
        if value is None:
            return None
        numbers.append(value)
    if {int}.issuperset(map(type, numbers)):
        for limits in map(np.iinfo, (np.int64, np.uint64)):
            if limits.min <= min(numbers) and max(numbers) <= limits.max:
                return np.array(numbers, limits.dtype)
    return np.array(numbers, np.float64)


def _values(lists: simdjson.Array, element: object) -> np.ndarray | None:
    """Return all numbers of nested lists, the first of which is `element`."""
    if type(element) is int:
        with suppress(ValueError, TypeError, RuntimeError):
            return np.frombuffer(lists.as_buffer(of_type="i"), np.int64)
        with suppress(ValueError, TypeError, RuntimeError):
            return np.frombuffer(lists.as_buffer(of_type="u"), np.uint64)
    elif type(element) is not float:
        return None
    return np.frombuffer(lists.as_buffer(of_type="d"), np.float64)


def _parsed(text: bytes) -> Parsed:
    """Return what this thread's parser reads: it must be gone before the next call."""
    try:
        parser: simdjson.Parser = _of_this_thread.parser
    except AttributeError:
        parser = _of_this_thread.parser = simdjson.Parser()
    try:
        found = parser.parse(text)
    except RuntimeError:
        # Perhaps because something read earlier lives on.
        del _of_this_thread.parser
        raise
    if isinstance(found, Parsed):
        return found
    raise TypeError("neither an object nor a list")


def _structure(content: bytes, start: int, end: int) -> bytearray:
    """Return brackets and commas of a text, and whatever belongs to no number.

    Nothing where a number is behind a list or before one: without brackets it would pass.
    """
    # Grows without a copy of all of it.
    structure = bytearray()
    last = b""
    for position in range(start, end, WINDOW):
        part = content[position : min(end, position + WINDOW)]
        part = last + part.translate(_DIGITS, _SPACES)
        if b"]0" in part or b"0[" in part:
            return bytearray()
        structure += part[len(last) :].translate(None, b"0")
        last = part[-1:]
    return structure


def _shape(structure: bytes | bytearray) -> tuple[int, ...] | None:
    """Return the shape of lists by their brackets and commas; None: there is no such array.

    A list of one element and one of none look the same: whoever asks counts the numbers.
    """
    head = structure[: _MOST_DIMENSIONS + 1]
    rank = len(head) - len(head.lstrip(b"["))
    close = structure.find(b"]")
    if not 0 < rank <= _MOST_DIMENSIONS or structure[rank:close] != b"," * (close - rank):
        return None
    unit = structure[rank - 1 : close + 1]
    shape = [close - rank + 1]
    for start in range(rank - 2, 0, -1):
        end, count = start + 1 + len(unit), 1
        while structure.startswith(unit, end + 1) and structure[end : end + 1] == b",":
            end += 1 + len(unit)
            count += 1
        if structure[end : end + 1] != b"]":
            return None
        unit = structure[start : end + 1]
        shape.insert(0, count)
    if rank == 1:
        return tuple(shape) if len(unit) == len(structure) else None
    count, rest = divmod(len(structure) - 1, len(unit) + 1)
    if rest or not structure.endswith(b"]"):
        return None
    row = unit + b","
    rows = row * max(1, WINDOW // len(row))
    last = len(structure) - 1
    for position in range(1, last, len(rows)):
        part = structure[position : min(last, position + len(rows))]
        if part != rows[: len(part)]:
            return None
    return (count, *shape)
