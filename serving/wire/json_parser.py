"""JSON as TensorFlow Serving's rapidjson 1.1 reads it: the parser that has the last word.

It differs from Python's own in what it takes (`Inf`, bytes that are no UTF-8, a lone low surrogate,
a second member of the same name, text behind the value), and it has rapidjson's error texts and
offsets. It is Python, so other threads get their turn while a long body is read; lists of plain
numbers go to orjson, which reads them nine times as fast.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import orjson

from ..errors import InvalidArgument, ServingError

Json = Any
"""What JSON is read into. Bytes that are no UTF-8 are surrogate escapes, as Python has them."""

WINDOW = 256 * 2**10
"""Bytes that one call of C code handles at most, so that others wait a millisecond, not a second.
"""

_MOST_LISTS = 256
_MOST_FREED = 10_000
_OBJECT_BYTES = 64
"""That an element takes on average: its place in the list and itself."""
_MEMBER_BYTES = 200
"""That a member takes on average, with its share of the object."""
_RESERVED_BYTES = 2**16
"""Are reserved at once: for what is read in about half a millisecond."""
_SPACE = re.compile(rb"[ \t\n\r]*")
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_NUMBER = re.compile(rb"(-?(?:0|[1-9][0-9]*))(\.[0-9]*)?([eE][-+]?[0-9]*)?")
_FLAT_LIST = re.compile(rb"\[[-+0-9.eE, \t\n\r]*\]")
_WORDS = {b"t": (b"true", True), b"f": (b"false", False), b"n": (b"null", None)}
_ESCAPES = {
    b'"': b'"',
    b"/": b"/",
    b"\\": b"\\",
    b"b": b"\b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Doubled(dict[str, Json]):
    """An object with several members of one name: the first of them counts, as a rule."""

    def __init__(self, members: list[tuple[str, Json]]) -> None:
        super().__init__(reversed(members))
        self.members = members
        """All of them."""


ReadList = Callable[[bytes, int], "tuple[Json, int] | None"]
"""Reads the list that begins at a position; returns it and where it ends, or None: it can't."""


Reserve = Callable[[int], None]
"""Is told of bytes of memory before they are taken; raises ServingError if there are too few."""


def free_of_charge(size: int) -> None:
    """Take memory without asking."""


def parse(
    content: bytes, read_list: ReadList | None = None, reserve: Reserve = free_of_charge
) -> Json:
    """Return the JSON value that content begins with.

    Args:
        content: a body; whatever follows the value is ignored.
        read_list: is asked first for each list that is a member of an object and not flat.
        reserve: memory for the objects of a long body.

    Raises:
        InvalidArgument: there is no JSON value.
        ServingError: `reserve` refuses.
    """
    return _Parser(content, read_list, reserve).document()


def check_list(content: bytes, start: int) -> int:
    """Return where the list ends that begins at a position; nothing is made of it.

    Raises:
        InvalidArgument: it is no JSON.
    """
    return _Parser(content, keep=False).value(start, 1)[1]


def elements(content: bytes, start: int) -> Iterator[Json]:
    """Return the elements of a list that `check_list` has found to be one, one by one."""
    return _Parser(content).elements(start)


def number(text: bytes) -> int | float | None:
    """Return the value of a number; None: it is no number, or too big for a double."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return {b"NaN": _NAN, b"-NaN": _NAN}.get(text) or _INFINITIES.get(text)
    whole, fraction, exponent = match.groups()
    if fraction == b"." or (exponent and not exponent[-1:].isdigit()):
        return None
    if fraction is None and exponent is None:
        # Of thousands of digits Python makes no integer.
        value = int(whole) if len(whole) <= 20 else None
        if value is not None and -(2**63) <= value < 2**64:
            return value
    real = float(text)
    return None if real in (_INFINITY, -_INFINITY) else real


_NAN = float("nan")
_INFINITY = float("inf")
_INFINITIES = {
    sign + word: value
    for sign, value in ((b"", _INFINITY), (b"-", -_INFINITY))
    for word in (b"Inf", b"Infinity")
}


class _Parser:
    def __init__(
        self,
        content: bytes,
        read_list: ReadList | None = None,
        reserve: Reserve = free_of_charge,
        *,
        keep: bool = True,
    ) -> None:
        self._content = content
        self._read_list = read_list
        self._reserve = reserve
        self._keep = keep
        """Whether lists have their elements."""
        self._taken = 0
        """Bytes that objects take and that are not reserved yet."""

    def document(self) -> Json:
        start = 0
        for byte in _BYTE_ORDER_MARK:
            start += self._content[start : start + 1] == bytes((byte,))
        start = self._behind_space(start)
        if not self._character(start):
            _fail("The document is empty.", start)
        return self.value(start, 0)[0]

    def _character(self, position: int) -> bytes:
        """Return the byte at a position; nothing at the end, which a NUL is as well."""
        character = self._content[position : position + 1]
        return b"" if character == b"\0" else character

    def _behind_space(self, position: int) -> int:
        return _SPACE.match(self._content, position).end()  # type: ignore[union-attr]

    def value(self, position: int, depth: int) -> tuple[Json, int]:
        """Return the value at a position, and where it ends."""
        character = self._character(position)
        if character == b'"':
            return self._string(position)
        if character in (b"[", b"{"):
            if depth == _MOST_LISTS:
                raise InvalidArgument(
                    f"JSON Parse error: nested too deeply, in more than {_MOST_LISTS} lists or "
                    f"objects. at offset: {position}"
                )
            return (self._list if character == b"[" else self._object)(position, depth + 1)
        if character in _WORDS:
            word, value = _WORDS[character]
            return value, self._word(word, position)
        return self._number(position)

    def _word(self, word: bytes, position: int) -> int:
        for letter in word:
            if self._character(position) != bytes((letter,)):
                _fail("Invalid value.", position)
            position += 1
        return position

    def _list(self, start: int, depth: int) -> tuple[Json, int]:
        flat = _FLAT_LIST.match(self._content, start, start + WINDOW)
        if flat:
            try:
                numbers = orjson.loads(flat.group())
                self._take(len(numbers) * _OBJECT_BYTES)
                return numbers, flat.end()
            except orjson.JSONDecodeError:
                pass
        found: list[Json] = []
        position = self._behind_space(start + 1)
        if self._character(position) == b"]":
            return found, position + 1
        try:
            while True:
                element, position = self.value(position, depth)
                if self._keep:
                    found.append(element)
                self._take(_OBJECT_BYTES)
                position, more = self._behind_element(position)
                if not more:
                    return found, position
        except ServingError:
            release(found)
            raise

    def elements(self, start: int) -> Iterator[Json]:
        position, more = self._behind_space(start + 1), True
        while more:
            element, position = self.value(position, 1)
            yield element
            position, more = self._behind_element(position)

    def _take(self, size: int) -> None:
        self._taken += size
        if self._taken > _RESERVED_BYTES:
            taken, self._taken = self._taken, 0
            self._reserve(taken)
            # Without this whoever waits for the GIL waits for 5 ms, at each step of its way.
            time.sleep(0)

    def _behind_element(self, position: int) -> tuple[int, bool]:
        """Return where the next element or the list ends, and whether there is one."""
        position = self._behind_space(position)
        character = self._character(position)
        if character == b"]":
            return position + 1, False
        if character != b",":
            _fail("Missing a comma or ']' after an array element.", position)
        return self._behind_space(position + 1), True

    def _object(self, start: int, depth: int) -> tuple[Json, int]:
        members: list[tuple[str, Json]] = []
        position = self._behind_space(start + 1)
        if self._character(position) == b"}":
            return {}, position + 1
        while True:
            if self._character(position) != b'"':
                _fail("Missing a name for object member.", position)
            name, position = self._string(position)
            position = self._behind_space(position)
            if self._character(position) != b":":
                _fail("Missing a colon after a name of object member.", position)
            value, position = self._member(self._behind_space(position + 1), depth)
            members.append((name, value))
            self._take(_MEMBER_BYTES)
            position = self._behind_space(position)
            character = self._character(position)
            if character == b"}":
                named = dict(members)
                return named if len(named) == len(members) else Doubled(members), position + 1
            if character != b",":
                _fail("Missing a comma or '}' after an object member.", position)
            position = self._behind_space(position + 1)

    def _member(self, position: int, depth: int) -> tuple[Json, int]:
        if (
            self._read_list is not None
            and self._character(position) == b"["
            and not _FLAT_LIST.match(self._content, position, position + WINDOW)
        ):
            found = self._read_list(self._content, position)
            if found is not None:
                return found
        return self.value(position, depth)

    def _string(self, start: int) -> tuple[str, int]:
        parts: list[bytes] = []
        position = start + 1
        while True:
            plain = _PLAIN.match(self._content, position, position + WINDOW)
            parts.append(plain.group())  # type: ignore[union-attr]
            position = plain.end()  # type: ignore[union-attr]
            character = self._character(position)
            if character == b'"':
                return b"".join(parts).decode(errors="surrogateescape"), position + 1
            if character == b"\\":
                part, position = self._escaped(position)
                parts.append(part)
            elif not character:
                _fail("Missing a closing quotation mark in string.", position)
            elif character < b" ":
                _fail("Invalid escape character in string.", position)

    def _escaped(self, start: int) -> tuple[bytes, int]:
        letter = self._character(start + 1)
        if letter in _ESCAPES:
            return _ESCAPES[letter], start + 2
        if letter != b"u":
            _fail("Invalid escape character in string.", start)
        code, position = self._code_unit(start + 2, start), start + 6
        if 0xD800 <= code < 0xDC00:
            if self._content[position : position + 2] != b"\\u":
                _fail("The surrogate pair in string is invalid.", start)
            low = self._code_unit(position + 2, start)
            if not 0xDC00 <= low < 0xE000:
                _fail("The surrogate pair in string is invalid.", start)
            code, position = 0x10000 + ((code - 0xD800) << 10) + low - 0xDC00, position + 6
        return chr(code).encode(errors="surrogatepass"), position

    def _code_unit(self, position: int, start: int) -> int:
        digits = self._content[position : position + 4]
        if len(digits) < 4 or digits.strip(b"0123456789abcdefABCDEF"):
            _fail("Incorrect hex digit after \\u escape in string.", start)
        return int(digits, 16)

    def _number(self, start: int) -> tuple[int | float, int]:
        match = _NUMBER.match(self._content, start)
        if match is None:
            position = start + (self._character(start) == b"-")
            word = {b"N": b"NaN", b"I": b"Inf"}.get(self._character(position), b"")
            if not word:
                _fail("Invalid value.", position)
            end = self._word(word, position)
            if word == b"Inf" and self._character(end) == b"i":
                end = self._word(b"inity", end)
        else:
            _, fraction, exponent = match.groups()
            if fraction == b".":
                _fail("Miss fraction part in number.", match.end(2))
            if exponent and not exponent[-1:].isdigit():
                _fail("Miss exponent in number.", match.end(3))
            end = match.end()
        value = number(self._content[start:end])
        if value is None:
            _fail("Number too big to be stored in double.", start)
        return value, end


def release(values: list[Json]) -> None:
    """Free a long list in parts: a million objects at once take a fifth of a second."""
    while len(values) > _MOST_FREED:
        del values[-_MOST_FREED:]


def _fail(text: str, offset: int) -> NoReturn:
    raise InvalidArgument(f"JSON Parse error: {text} at offset: {offset}")
