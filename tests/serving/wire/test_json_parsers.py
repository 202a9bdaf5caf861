"""The parsers of JSON agree: simdjson, orjson, in pieces or at once, give what `json_parser` gives.

By examples and by mutations of them; a seed that fails is in the test's name.
"""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest

from serving.errors import ServingError
from serving.wire import json_document, json_numbers, json_parser
from tests.serving.wire.json_requests import outcome, read

BODIES = [
    b'{"instances": [1, 2.5, -0, -0.0, 1e-7, 1E+2]}',
    b'{"instances": [0.1, 1.7976931348623157e308, 5e-324, 3.4028235e38]}',
    b'{"instances": [NaN, Infinity, -Infinity, 1]}',
    b'{"instances": [1e400]}',
    b'{"instances": [9223372036854775807, 18446744073709551615]}',
    b'{"instances": [18446744073709551616, -123456789012345678901234567890]}',
    b'{"instances": [0.12345678901234567890123]}',
    b'{"instances": [true, null, "a", {"b64": "aGk="}]}',
    '{"instances": ["\u00e9\u4e2d\U0001f600 \\u00e9 \\ud83d\\ude00 \\n"]}'.encode(),
    b'{"instances": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]], "signature_name": "a[b]"}',
    b'{"instances": [[[1], [2]], [[3], [4]], [[5], [6]]]}',
    b'{"inputs": [[1.5, 2], [3, 4]]} and more',
    b'\xef\xbb\xbf {"inputs": [[]]}',
    b'{"inputs": {"x": [[1, 2], [3, 4]]}}',
    b'{"instances": [{"x": [1, 2.5]}, {"x": [3, 4]}]}',
    b'{"instances": [{"x": [[1], [2.5]]}, {"x": [[3], [4]]}], "signature_name": ""}',
    b'{"instances": [{"x": 1}, {"x": 2.5}, {"x": -3}]}',
    b'{"signature_name": "s", "instances": [[1], [2], [3]], "z": [1]}',
    b'{"instances": [1, 1.0, -1, 300, 4294967296]}',
]
TYPES = ("float", "double", "int32", "int64", "uint64", "uint8", "string", "bool", "half")
_CHARACTERS = b'{}[]",:\\ue0123456789.-+ENaInf \n\0\xff'


def exactly(body: bytes, dtype: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what `json_parser` alone makes of a body."""
    with monkeypatch.context() as patched:
        patched.setattr(json_document, "_parse_quickly", lambda _: None)
        patched.setattr(json_numbers, "read_document", lambda _: None)
        patched.setattr(json_parser.orjson, "loads", _refuse)
        return outcome(body, {"x": dtype})


def _refuse(_: bytes) -> Any:
    raise json_parser.orjson.JSONDecodeError("", "", 0)


def in_pieces(body: bytes, dtype: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what is made of a body as if it were a very long one."""
    with monkeypatch.context() as patched:
        for module in (json_document, json_numbers, json_parser):
            patched.setattr(module, "WINDOW", 8)
        return outcome(body, {"x": dtype})


def mutated(body: bytes, chance: random.Random) -> bytes:
    text = bytearray(body)
    for _ in range(chance.randint(0, 3)):
        position = chance.randrange(len(text))
        match chance.randrange(3):
            case 0:
                del text[position : position + chance.randint(1, 3)]
            case 1:
                text[position:position] = bytes((chance.choice(_CHARACTERS),))
            case 2:
                text[position] = chance.choice(_CHARACTERS)
    return bytes(text)


@pytest.mark.parametrize("seed", range(12))
def test_all_ways_of_reading_give_the_same_tensor_or_the_same_error(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(json_numbers, "_SHORTEST_OBJECT", 0)
    for body in BODIES * 8:
        changed, dtype = mutated(body, chance), chance.choice(TYPES)
        expected = exactly(changed, dtype, monkeypatch)
        assert outcome(changed, {"x": dtype}) == expected, changed
        assert in_pieces(changed, dtype, monkeypatch) == expected, changed


@pytest.mark.parametrize(
    "shape", [(5,), (3, 4), (2, 3, 4), (4, 1), (1, 1, 7), (2, 1, 3, 1), (700, 2), (1, 600)]
)
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("window", [40, 1000, 2**18])
def test_nested_lists_become_arrays_without_an_object_for_each_number(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], indent: int | None, window: int
) -> None:
    for module in (json_document, json_numbers, json_parser):
        monkeypatch.setattr(module, "WINDOW", window)
    array = np.random.default_rng(1).normal(size=shape)
    for key in ("instances", "inputs"):
        body = json.dumps({key: array.tolist()}, indent=indent).encode()
        assert isinstance(json_document.parse(body)[key], json_numbers.Numbers)
        assert np.array_equal(read(body, {"x": "double"})["x"], array)
    body = json.dumps({"inputs": {"x": array.tolist(), "y": [1]}}, indent=indent).encode()
    assert np.array_equal(read(body, {"x": "double", "y": "int32"})["x"], array)


@pytest.mark.parametrize(
    "lists",
    [
        "[[1, 2], [3], [4, 5, 6]]",
        "[[1, 2], [[3], 4]]",
        "[[1, 2], [3, 4]",
        "[[1, 2]3, [4]]",
        "[[1 2], [3, 4]]",
        "[[1,], [2, 3]]",
        "[[1, 2], [, 3]]",
        "[[], [1, 2]]",
        "[-[1, 2], [3, 4]]",
        "[[1, 2e]5, [3, 4]]",
        "[[1, ]2, [3, 4]]",
        "[[1, 2], 3[, 4]]",
        "[[1, 2], [3, 4]]]",
        "[[1, 2], [3, true]]",
        '[[1, 2], [3, "4"]]',
        "[[[1, 2]], [3, 4]]",
        "[[1, 2], [3, 4], 5]",
        "[1, 2, [3]]",
        "[[1, 2], [3, 01]]",
    ],
)
@pytest.mark.parametrize("window", [8, 2**18])
def test_lists_that_are_no_array_are_not_taken_for_one(
    monkeypatch: pytest.MonkeyPatch, lists: str, window: int
) -> None:
    for module in (json_document, json_numbers, json_parser):
        monkeypatch.setattr(module, "WINDOW", window)
    for body in (b'{"inputs": %s}' % lists.encode(), b'{"inputs": {"x": %s}}' % lists.encode()):
        with pytest.raises(ServingError):
            read(body, {"x": "float"})


def test_a_number_of_the_wrong_type_is_found_without_an_object_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json_numbers, "WINDOW", 1000)
    monkeypatch.setattr(json_document, "WINDOW", 1000)
    monkeypatch.setattr(json_numbers.Numbers, "listed", None)
    rows = [[1, 2]] * 2000 + [[3, 4.5]] + [[1, 2]] * 2000
    found = outcome(json.dumps({"instances": rows}).encode(), {"x": "int64"})
    assert found == (
        "INVALID_ARGUMENT: Failed to process element: 2000 of 'instances' list. Error: "
        "INVALID_ARGUMENT: JSON Value: 4.5 Type: Number is not of expected type: int64"
    )
