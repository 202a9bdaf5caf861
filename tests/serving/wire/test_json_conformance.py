"""What JSON means, as TensorFlow Serving has it: its json_tensor_test and rapidjson 1.1, restated.

The answers were compared with rapidjson 1.1.0 itself, by its own parser and writer.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from serving.errors import ServingError
from serving.wire import json_errors, json_examples
from serving.wire.json_document import parse, parse_plain
from serving.wire.json_outputs import dump_outputs
from tests.serving.wire.json_requests import outcome, read

INF = float("inf")


def x(dtype: str, value: str | bytes) -> Any:
    """Return what a JSON value is as an input of a type, by column; or the error."""
    value = value.encode() if isinstance(value, str) else value
    try:
        return read(b'{"inputs": %s}' % value, {"x": dtype})["x"].tolist()
    except ServingError as error:
        return error.message


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        ("float", "1.5", 1.5),
        ("float", "[[1, 2.5], [-0, 1e2]]", [[1.0, 2.5], [0.0, 100.0]]),
        ("float", "[[[1]], [[2]]]", [[[1.0]], [[2.0]]]),
        # Rounded; beyond the largest float they are infinite.
        ("float", "[16777217, 1435774380]", [16777216.0, 1435774336.0]),
        ("float", "[1e39, -1e39, 3.4028236e38]", [INF, -INF, INF]),
        ("float", "[123456789012345678901234567890]", [float(np.float32(1.2345678901234568e29))]),
        ("double", "[9007199254740993, 0.1]", [9007199254740992.0, 0.1]),
        ("double", "[18446744073709551616]", [1.8446744073709552e19]),
        ("float", "[NaN, Inf, -Inf, Infinity, -Infinity]", [None, INF, -INF, INF, -INF]),
        ("double", "1e400", "Number too big to be stored in double. at offset: 11"),
        ("double", "[1, 1e400]", "Number too big to be stored in double. at offset: 15"),
        ("double", "9" * 5000, "Number too big to be stored in double. at offset: 11"),
        ("int32", "[1, 2]", [1, 2]),
        ("int32", "[1, 2.0]", "JSON Value: 2.0 Type: Number is not of expected type: int32"),
        ("int32", "2147483648", "Type: Number is not of expected type: int32"),
        ("int64", "[9223372036854775807, -9223372036854775808]", [2**63 - 1, -(2**63)]),
        ("int64", "[9223372036854775808]", "9223372036854775808 Type: Number is not of expected"),
        ("int64", "[18446744073709551616]", "JSON Value: 1.84467441e+19 Type: Number is not"),
        ("uint64", "[18446744073709551615, 0]", [2**64 - 1, 0]),
        ("uint64", "[1, -1]", "JSON Value: -1 Type: Number is not of expected type: uint64"),
        ("uint32", "4294967295", 2**32 - 1),
        # As an int32 that is cut.
        ("int8", "[1, 300]", [1, 44]),
        ("uint8", "[255, -1]", [255, 255]),
        ("bool", "[true, false]", [True, False]),
        ("bool", "[true, 1]", "JSON Value: 1 Type: Number is not of expected type: bool"),
        ("string", '["a", "\\u00e9\\ud83d\\ude00"]', [b"a", "é😀".encode()]),
        ("string", '["a", 1]', "JSON Value: 1 Type: Number is not of expected type: string"),
        ("string", b'"\xff\xfe"', b"\xff\xfe"),
        ("string", '"\\udc00"', b"\xed\xb0\x80"),
        ("string", '"\\ud800"', "The surrogate pair in string is invalid. at offset: 12"),
        ("string", '"\\ud800\\u0041"', "The surrogate pair in string is invalid. at offset: 12"),
        ("string", '"a\\u0000b"', b"a\0b"),
        ("float", '"1"', 'JSON Value: "1" Type: String is not of expected type: float'),
        ("float", "null", "JSON Value: null Type: Null is not of expected type: float"),
        ("float", "[[1], [2, 3]]", "list at unexpected size: 2 at level: 1 expected size: 1"),
        ("float", "[[1, 2], 3]", "JSON Value: 3 found at incorrect level: 2 in the JSON DOM. Ex"),
        ("float", "[1, [2]]", "Encountered list at unexpected level: 1 expected < 1"),
        ("float", "[[1, 2], [3], [4, 5, 6]]", "Encountered list at unexpected size: 1 at level: 1"),
        ("float", "[[1, 2], [[3], 4]]", "Encountered list at unexpected level: 2 expected < 2"),
        ("half", "[1.5]", "Conversion of JSON Value: 1.5 to type: half"),
        ("half", '[{"a": 1}]', "Type: Object is not of expected type: half"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_value_as_a_tensor(dtype: str, value: str | bytes, expected: Any) -> None:
    found = x(dtype, value)
    if isinstance(expected, str):
        assert expected in found
    elif expected == [None, INF, -INF, INF, -INF]:
        assert np.isnan(found[0])
        assert found[1:] == expected[1:]
    else:
        assert found == expected


@pytest.mark.parametrize(
    "dtype",
    ["float", "double", "int32", "uint8", "int16", "int8", "string", "complex64", "int64", "bool"]
    + ["bfloat16", "uint16", "complex128", "half", "uint32", "uint64", "qint8", "float8_e5m2"],
)
@pytest.mark.parametrize(("value", "shape"), [("[]", (0,)), ("[[], []]", (2, 0))])
def test_without_elements_any_type_will_do(dtype: str, value: str, shape: Any) -> None:
    body = b'{"inputs": %s}' % value.encode()
    assert read(body, {"x": dtype})["x"].shape == shape


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("aGV5", b"hey"),
        (" aG\\nV5\\r\\n\\t", b"hey"),
        ("aGU=", b"he"),
        ("aGU.", b"he"),
        ("aGU", b"he"),
        ("aA==", b"h"),
        ("aA = .", b"h"),
        ("aA", b"h"),
        ("", b""),
        ("+/+/", b"\xfb\xff\xbf"),
        ("aA=", None),
        ("aGV5=", None),
        ("aGV5====", None),
        ("aGU==", None),
        ("a", None),
        ("aG=V", None),
        ("a-_b", None),
        ("aGV5\\u00e9", None),
        ("%", None),
    ],
)
def test_base64_is_absls(text: str, data: bytes | None) -> None:
    found = x("string", f'{{"b64": "{text}"}}')
    assert found == ("Unable to base64 decode" if data is None else data)


def test_a_long_picture_in_lines_as_mime_writes_them() -> None:
    picture = bytes(range(256)) * 3000
    text = base64.encodebytes(picture).decode()
    assert x("string", json.dumps({"b64": text})) == picture


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('{"b64": "aA==", "b64": "aQ=="}', "not formatted correctly for base64 data"),
        ('{"b64": 1}', 'JSON Value: {\n    "b64": 1\n} not formatted correctly for base64 data'),
        ('{"b64": "aA==", "z": 1}', "not formatted correctly for base64 data"),
    ],
)
def test_what_only_looks_like_base64(value: str, expected: str) -> None:
    assert expected in x("string", f"[{value}]")


class TestTheFirstMemberOfANameCounts:
    def test_in_the_request(self) -> None:
        body = b'{"instances": [1], "instances": [2], "signature_name": "a", "signature_name": "b"}'
        assert read(body, {"x": "float"})["x"].tolist() == [1]
        assert parse(body)["signature_name"] == "a"

    def test_among_the_columns(self) -> None:
        body = b'{"inputs": {"x": [1], "x": [2], "y": [3]}}'
        assert read(body, {"x": "float", "y": "float"})["x"].tolist() == [1]

    def test_in_a_row(self) -> None:
        body = b'{"instances": [{"x": 1, "x": 2, "y": 3}]}'
        assert read(body, {"x": "float", "y": "float"})["x"].tolist() == [1]

    def test_but_of_the_features_of_an_example_the_last(self) -> None:
        found = json_examples.read_input(parse_plain(b'{"examples": [{"x": 1, "x": 2}]}'))
        [example] = found.example_list.examples
        assert example.features.feature["x"].int64_list.value == [2]

    def test_with_a_colon_in_a_text(self) -> None:
        assert x("string", '["http://a/b:c"]') == [b"http://a/b:c"]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"instances": [[1.0], ["a"]]}', "element: 1 of 'instances' list. Error: INVALID_ARGU"),
        (b'{"instances": [[1], [2.5], [true]]}', "Failed to process element: 2 of 'instances'"),
        (b'{"instances": 1}', "JSON Value: {\n    \"instances\": 1\n} Expecting 'instances' to"),
        (b'{"instances": []}', "JSON Value: {\n    \"instances\": []\n} No values in 'instances'"),
        (
            b'{"instances": [1, [2]], "inputs": {"a": 1.50}}',
            'JSON Value: {\n    "instances": [1, [2]],\n    "inputs": {\n        "a": 1.5\n    }\n}'
            " Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
        ),
        (b'{"signature_name": 3}', "'signature_name' key must be a string value."),
        (b"[1]", "JSON Value: [1] Is not object"),
        (b'{"inputs": 1.}', "Miss fraction part in number. at offset: 13"),
        (b'{"inputs": 1e}', "Miss exponent in number. at offset: 13"),
        (b'{"inputs": [1 2]}', "Missing a comma or ']' after an array element. at offset: 14"),
        (b'{"inputs": 01}', "Missing a comma or '}' after an object member. at offset: 12"),
        (b'{"inputs": [1,]}', "Invalid value. at offset: 14"),
        (b'{"inputs": "\t"}', "Invalid escape character in string. at offset: 12"),
        (b'{"inputs": "\\u00g0"}', "Incorrect hex digit after \\u escape in string. at offset: 12"),
        (b'{"inputs": "a', "Missing a closing quotation mark in string. at offset: 13"),
        (b'{"inputs": nul}', "Invalid value. at offset: 14"),
        (b'{"inputs": Infinit}', "Invalid value. at offset: 18"),
        (b"{1: 2}", "Missing a name for object member. at offset: 1"),
        (b'{"a" 2}', "Missing a colon after a name of object member. at offset: 5"),
        (b"", "JSON Parse error: The document is empty"),
        (b" ", "JSON Parse error: The document is empty. at offset: 1"),
        (b'{"inputs": ' + b"[" * 1000, "JSON Parse error: nested too deeply"),
        (b'{"inputs": ' + b"[" * 100 + b"1" + b"]" * 100 + b"}", "A tensor of 100 dimensions"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_error_has_tensorflow_servings_words(body: bytes, text: str) -> None:
    assert text in outcome(body, {"x": "float"})


def test_an_error_shows_the_beginning_of_a_long_value_at_once() -> None:
    document = {"instances": 1, "more": [[0.5]] * 10**6}
    assert len(json_errors.shown(document)) == 256


def test_the_body_of_an_error_passes_on_what_is_no_utf8() -> None:
    text = outcome(b'{"instances": [{"\xff": 1}]}', {"x": "float", "y": "float"})
    assert b"named input: \xff" in json_errors.body(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float32(3), "3.0"),
        (np.float32(0.1), "0.1"),
        (np.float32(1 / 3), "0.33333334"),
        (np.float64(1 / 3), "0.3333333333333333"),
        (np.float32(9e6), "9000000.0"),
        (np.float32("nan"), "NaN"),
        (np.float64("-inf"), "-Infinity"),
        (np.float16(65504), "65504.0"),
        (np.int8(-3), "-3"),
        (np.uint64(2**64 - 1), "18446744073709551615"),
        (np.bool_(True), "true"),
    ],
)
def test_a_number_in_an_answer(value: Any, text: str) -> None:
    answer = dump_outputs({"y": np.array(value)}, by_row=False)
    assert answer == b'{\n    "outputs": %s\n}' % text.encode()


@pytest.mark.parametrize(
    "value", [np.float32, np.float64, np.float16], ids=lambda dtype: dtype.__name__
)
def test_a_number_reads_back_as_the_same(value: Any) -> None:
    bits = {2: np.uint16, 4: np.uint32, 8: np.uint64}[value().itemsize]
    numbers = np.random.default_rng(5).integers(0, np.iinfo(bits).max, 3000, bits).view(value)
    text = dump_outputs({"y": numbers}, by_row=True)
    back = np.array(json.loads(text)["predictions"]).astype(value)
    assert np.array_equal(back, numbers, equal_nan=True)


def strings(*values: bytes) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def test_texts_in_an_answer_are_utf8_or_the_bytes_that_they_are() -> None:
    answer = dump_outputs({"y": strings('é日😀\n"'.encode())}, by_row=True)
    assert 'é日😀\\n\\"'.encode() in answer
    answer = dump_outputs({"y": strings(b"\xff\x01\\", b"a")}, by_row=True)
    assert b'["\xff\\u0001\\\\","a"' in answer


def test_rows_of_several_outputs() -> None:
    outputs = {
        "a": np.arange(4, dtype=np.float32).reshape(2, 1, 2),
        "b": np.array([np.nan, 1]),
        "c": strings(b"],[", b"x"),
        "d_bytes": strings(b"hi", b""),
        "e": np.zeros((2, 0), np.int32),
    }
    answer = json.loads(dump_outputs(outputs, by_row=True))["predictions"]
    assert answer[1] == {"a": [[2.0, 3.0]], "b": 1.0, "c": "x", "d_bytes": {"b64": ""}, "e": []}
    assert answer[0]["c"] == "],["
    assert answer[0]["a"] == [[0.0, 1.0]]


@pytest.mark.parametrize("by_row", [True, False])
def test_large_answers_are_those_of_their_parts(by_row: bool) -> None:
    """Written in parts, however the size is made up of dimensions."""
    for shape in ((200_000,), (1, 3, 70_000), (3, 60_000, 1), (70_000, 2), (1, 1, 120_001)):
        array = np.arange(np.prod(shape), dtype=np.int64).reshape(shape)
        [answer] = json.loads(dump_outputs({"y": array}, by_row=by_row)).values()
        assert answer == array.tolist()
    texts = strings(*(b"%d" % number for number in range(30_000)))
    [answer] = json.loads(dump_outputs({"y": texts}, by_row=by_row)).values()
    assert answer == [str(number) for number in range(30_000)]
