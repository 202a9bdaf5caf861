"""Files, standard input and texts to answers, over both transports.

How pictures become rows is in test_images.py.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from client import FileError, InvalidInput, ModelMetadata, Signature, TensorSpec
from client._inputs.choice import Choice
from client._inputs.example import Example
from client._inputs.files import Reader
from client._inputs.notes import Notes
from tests.serving_fixtures import ModelServer

from ..conftest import Connect, digit

Write = Callable[[str, Any], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file (array, bytes, text, or anything as JSON) and return its path."""

    def make(name: str, content: Any) -> str:
        path = tmp_path / name
        if isinstance(content, np.ndarray):
            np.save(path, content)
        elif isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(content)
        else:
            path.write_text(json.dumps(content))
        return str(path)

    return make


def png(k: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.uint8(digit(k) * 255).reshape(28, 28)).save(buffer, "PNG")
    return buffer.getvalue()


def rows(*digits: int) -> np.ndarray:
    return np.stack([digit(k) for k in digits])


def test_files_of_one_signature_go_in_one_request(
    mnist: ModelServer, connect: Connect, write: Write
) -> None:
    paths = [
        write("a.csv", ",".join(map(str, digit(4)))),
        write("b.npy", rows(1, 2)),
        write("c.npy", digit(3)),
        write("d.json", rows(7).tolist()),
    ]
    one = connect(mnist)
    requests: list[int] = []
    real = one._transport.predict

    def count(signature: Any, inputs: Any, deadline: Any) -> Any:
        requests.append(len(inputs["images"]))
        return real(signature, inputs, deadline)

    one._transport.predict = count  # type: ignore[method-assign]
    found = one.predict_files(paths, on_note=lambda _: None)
    answers = [(answer.source, answer.prediction) for answer in found]
    a, b, c, d = paths
    assert answers == [(f"{a}:1", 4), (f"{b}[0]", 1), (f"{b}[1]", 2), (c, 3), (f"{d}[0]", 7)]
    assert requests == [5]


def test_pictures_go_to_the_signature_of_files_and_arrays_to_that_of_pixels(
    mnist: ModelServer, connect: Connect, write: Write
) -> None:
    paths = [write("a.npy", digit(1)), write("b.png", png(2)), write("c.npy", digit(3))]
    answers = list(connect(mnist).predict_files(paths))
    assert [(answer.signature, answer.prediction) for answer in answers] == [
        ("serving_default", 1),
        ("image_bytes", 2),
        ("serving_default", 3),
    ]
    assert all(answer.confidence and answer.confidence > 0.99 for answer in answers)


def test_a_picture_file_goes_as_it_is(mnist: ModelServer, connect: Connect, write: Write) -> None:
    """Whatever it is: preparation is the model's."""
    one = connect(mnist)
    sent: list[bytes] = []
    real = one._transport.predict

    def see(signature: Any, inputs: Any, deadline: Any) -> Any:
        sent.extend(inputs["image_bytes"].tolist())
        return real(signature, inputs, deadline)

    one._transport.predict = see  # type: ignore[method-assign]
    buffer = io.BytesIO()
    Image.new("RGBA", (40, 20), (0, 0, 0, 0)).save(buffer, "PNG")
    assert len(list(one.predict_files([write("a.png", buffer.getvalue())]))) == 1
    assert sent == [buffer.getvalue()]
    with pytest.raises(InvalidInput, match="Leave out the inversion"):
        list(one.predict_files([write("a.png", png(1))], invert=True))


@pytest.mark.parametrize(
    "document",
    [
        {"images": rows(5, 6).tolist()},
        {"inputs": rows(5, 6).tolist()},
        {"inputs": {"images": rows(5, 6).tolist()}},
        {"instances": rows(5, 6).tolist()},
        {"instances": [{"images": row.tolist()} for row in rows(5, 6)]},
        {"signature_name": "predict_object", "instances": rows(5, 6).tolist()},
    ],
)
def test_json_may_be_a_tensor_or_the_body_of_a_request(
    mnist: ModelServer, connect: Connect, write: Write, document: Any
) -> None:
    answers = connect(mnist).predict_files([write("x.json", document)])
    assert [answer.prediction for answer in answers] == [5, 6]


def test_json_carries_bytes_as_tf_servings_b64(
    mnist: ModelServer, connect: Connect, write: Write
) -> None:
    encoded = {"b64": base64.b64encode(png(8)).decode()}
    path = write("x.json", {"instances": [{"image_bytes": encoded}]})
    (answer,) = connect(mnist).predict_files([path], signature="image_bytes")
    assert answer.prediction == 8


def test_inputs_by_name_are_rows_where_all_outputs_are(
    kinds: ModelServer, connect: Connect, write: Write
) -> None:
    path = write("x.json", {"a": [[1, 2], [3, 4]], "b": [[10, 20], [30, 40]]})
    answers = list(connect(kinds).predict_files([path], signature="add", output="sum"))
    assert [(a.source, a.prediction) for a in answers] == [
        (f"{path}[0]", [11, 22]),
        (f"{path}[1]", [33, 44]),
    ]


@pytest.mark.parametrize(
    ("signature", "value", "answer"),
    [("total", [1, 2, 3], 6), ("echo_float32", [[1.5], [2]], [[1.5], [2]])],
)
def test_where_a_model_knows_no_rows_a_file_is_one_request(
    kinds: ModelServer, connect: Connect, write: Write, signature: str, value: Any, answer: Any
) -> None:
    path = write("x.json", value)
    (given,) = connect(kinds).predict_files([path], signature=signature)
    assert (given.source, given.prediction) == (path, answer)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.npy", b"no array", "Cannot read array"),
        ("x.npy", np.zeros((0, 784), np.float32), "holds no rows"),
        ("x.npy", np.zeros((2, 785), np.float32), "shape [2, 785], the model takes [?, 784]"),
        ("x.json", "[1, 2", "is not JSON"),
        ("x.json", "[" * 100_000, "is not JSON"),
        ("x.json", {"nope": [1]}, "has no input 'nope'"),
        ("x.png", b"", "is empty"),
        ("x.json", {"instances": [{"images": [0]}, {}]}, "do not all have the same inputs"),
        ("x.json", {"signature_name": "other", "inputs": [[0]]}, "asks for signature 'other'"),
        ("x.csv", "", "is empty"),
        ("x.csv", "a,b\n1,2\n", "has 2 columns, and input 'images'"),
        ("x.json", [[1, 2], [3]], "not a regular array"),
        ("x.json", {"b64": "%"}, "b64"),
    ],
)
def test_a_file_that_makes_no_sense_is_said_and_does_not_lose_the_others(
    mnist: ModelServer, connect: Connect, write: Write, name: str, content: Any, said: str
) -> None:
    path = write(name, content)
    errors: list[Any] = []
    answers = connect(mnist).predict_files([path, write("b.png", png(2))], on_error=errors.append)
    assert [answer.prediction for answer in answers] == [2]
    (error,) = errors
    assert error.path == path
    assert said in str(error)
    assert path in str(error)
    assert "\n" not in str(error)


def test_every_damage_of_an_array_is_a_file_error_or_still_an_array(tmp_path: Path) -> None:
    """numpy reads the header as Python: bytes overwritten at random find out what that raises."""
    random = np.random.default_rng(1)
    signature = Signature("s", {"x": TensorSpec("x", "float32", (None, 3))}, {})
    choice = Choice(ModelMetadata("m", 1, {"s": signature}))
    buffer = io.BytesIO()
    np.save(buffer, np.ones((2, 3), np.float32))
    for _ in range(500):
        content = bytearray(buffer.getvalue())
        for position in random.integers(6, 128, 3):
            content[position] = random.integers(0, 256)
        (tmp_path / "x.npy").write_bytes(content)
        for found in Reader(choice, Notes(None)).files([tmp_path / "x.npy"]):
            assert isinstance(found, FileError | Example)
            assert not isinstance(found, FileError) or len(str(found)) < 600


PLANS = Signature(
    "s",
    {
        "plan": TensorSpec("plan", "string", (None, 1)),
        "months": TensorSpec("months", "float32", (None, 1)),
    },
    {},
)
"""As Keras gives it to a model of columns."""


def reader_of(signature: Signature) -> Reader:
    return Reader(Choice(ModelMetadata("m", 1, {signature.name: signature})), Notes(None))


@pytest.mark.parametrize("wrap", [lambda row: row, lambda row: {"inputs": row}])
def test_one_example_without_its_dimension_is_answered_with_the_form_that_goes(
    write: Write, wrap: Callable[[Any], Any]
) -> None:
    (error,) = reader_of(PLANS).files([write("a.json", wrap({"plan": "basic", "months": 3}))])
    cure = '{"instances": [{"plan": ["basic"], "months": [3]}]}'
    assert str(error).endswith(
        "does not fit. Its inputs lack the first dimension, which counts the examples. "
        f"Give one example as {cure}."
    )
    (example,) = reader_of(PLANS).files([write("b.json", cure)])
    assert isinstance(example, Example)
    assert {name: array.tolist() for name, array in example.inputs.items()} == {
        "plan": [b"basic"],
        "months": [3.0],
    }
    (error,) = reader_of(PLANS).files([write("c.json", {"plan": "b" * 999, "months": 3})])
    assert str(error).endswith('Give one example as {"instances": [{"plan": ..., ...}]}.')


@pytest.mark.parametrize(
    "document",
    [
        {"plan": 3, "months": 3},
        {"plan": "basic", "months": [[3]]},
        {"plan": ["basic", "pro"], "months": 3},
        {"plan": [["basic"], []], "months": 3},
        {"plan": "basic", "nope": 3},
        {"plan": {"nope": 1}, "months": 3},
        [],
    ],
)
def test_what_is_not_one_example_gets_no_such_advice(write: Write, document: Any) -> None:
    (error,) = reader_of(PLANS).files([write("a.json", document)])
    assert isinstance(error, FileError)
    assert "instances" not in str(error)


@pytest.mark.parametrize(
    "given",
    ['{"plan": "basic", "months": 3}', "[[1, 2]]", "{plan:basic}", f'{{"x": "{"x" * 999}"}}'],
)
def test_json_in_the_place_of_a_path_is_told_where_it_goes(given: str) -> None:
    (error,) = reader_of(PLANS).files([given])
    assert isinstance(error, FileError)
    assert str(error).startswith(f"There is no file {given[:12]!r}"[:-1])
    assert "pipe, as in `echo '{...}' | python -m client predict -`" in str(error)
    assert len(str(error)) < 250


def test_a_file_whose_name_is_json_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("[1]").write_bytes(b"")
    with pytest.raises(InvalidInput, match="takes no pictures"):
        list(reader_of(PLANS).files(["[1]"]))
    (error,) = reader_of(PLANS).files(["[x]"])
    assert str(error) == "There is no file '[x]'. Check the path."


def test_a_missing_file_is_missing_whatever_the_model_takes(tmp_path: Path) -> None:
    missing, there = str(tmp_path / "missing"), tmp_path / "there.png"
    (error,) = reader_of(PLANS).files([missing])
    assert isinstance(error, FileError)
    assert str(error) == f"There is no file {missing!r}. Check the path."
    there.write_bytes(png(1))
    with pytest.raises(InvalidInput, match="takes no pictures"):
        list(reader_of(PLANS).files([there]))


def test_an_array_with_pickles_is_not_opened(
    mnist: ModelServer, connect: Connect, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(FileError, match="allow_pickle"):
        list(connect(mnist).predict_files([tmp_path / "x.npy"]))


@pytest.mark.parametrize("kind", ["picture", "json", "npy"])
def test_standard_input_is_known_by_its_content(
    mnist: ModelServer, connect: Connect, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    buffer = io.BytesIO()
    np.save(buffer, digit(9))
    content = {
        "picture": png(9),
        "json": json.dumps(digit(9).tolist()).encode(),
        "npy": buffer.getvalue(),
    }[kind]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    (answer,) = connect(mnist).predict_files(["-"])
    assert (answer.source, answer.prediction) == ("-", 9)


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "'-' is empty"), (b"a word\n", "has 1 columns, and input 'images'")]
)
def test_standard_input_that_is_nothing_of_the_kind_is_said(
    mnist: ModelServer,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    said: str,
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    with pytest.raises(FileError, match=said):
        list(connect(mnist).predict_files(["-"]))


@pytest.mark.parametrize(
    ("content", "said"), [(b"\xff", "not UTF-8 text"), (b"\n \n", "holds no text")]
)
def test_a_file_of_no_texts_is_said(
    kinds: ModelServer, connect: Connect, write: Write, content: bytes, said: str
) -> None:
    with pytest.raises(FileError, match=said):
        list(connect(kinds, signature="echo_string").predict_files([write("x.txt", content)]))


def test_texts_find_the_signature_that_takes_them(
    kinds: ModelServer, connect: Connect, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = connect(kinds, signature="shout")
    keys: Any = {"input": "in_bytes", "output": "text"}
    texts = list(one.predict_texts(["abc", "dé f"], **keys))
    assert [(t.source, t.prediction) for t in texts] == [("abc", "ABC"), ("dé f", "Dé F")]
    path = write("x.txt", "one\n\ntwo\n")
    lines = list(one.predict_files([path], **keys))
    assert [(t.source, t.prediction) for t in lines] == [(f"{path}:1", "ONE"), (f"{path}:3", "TWO")]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"three\n")))
    (piped,) = one.predict_files(["-"], **keys)
    assert (piped.source, piped.prediction) == ("-:1", "THREE")
    (chosen,) = connect(kinds).predict_texts(["abc"], **keys)
    assert chosen.signature == "shout"
    with pytest.raises(InvalidInput, match="ends in _bytes has to be named to take text"):
        list(one.predict_texts(["abc"], output="text"))


def test_a_picture_is_not_sent_to_an_input_of_texts_unless_it_is_named(
    kinds: ModelServer, connect: Connect, write: Write
) -> None:
    """A model of texts would make something up."""
    one = connect(kinds, signature="echo_string")
    path = write("a.png", png(1))
    with pytest.raises(InvalidInput, match="takes no pictures: echo_string takes x "):
        list(one.predict_files([path]))
    (answer,) = one.predict_files([path], input="x")
    assert answer.source == path
    # What is no text comes back as it was, over JSON too.
    raw = one.predict(np.array([png(1)], object)).outputs["y"]
    assert raw.tolist() == [png(1)]


def test_requests_are_bounded_in_bytes_too(
    mnist: ModelServer, connect: Connect, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client._inputs.batches.BYTES_PER_REQUEST", 2 * len(png(1)) + 10)
    one = connect(mnist, signature="image_bytes")
    sent: list[int] = []
    real = one._transport.predict

    def count(signature: Any, inputs: Any, deadline: Any) -> Any:
        sent.append(len(inputs["image_bytes"]))
        return real(signature, inputs, deadline)

    one._transport.predict = count  # type: ignore[method-assign]
    paths = [write(f"{k}.png", png(1)) for k in range(5)]
    assert [answer.prediction for answer in one.predict_files(paths)] == [1] * 5
    assert sent == [2, 2, 1]


def test_texts_for_a_model_that_takes_numbers_are_refused(
    mnist: ModelServer, connect: Connect
) -> None:
    one = connect(mnist, signature="predict_object")
    with pytest.raises(InvalidInput, match="takes no text: predict_object takes images"):
        list(one.predict_texts(["abc"]))


@pytest.mark.parametrize("keys", [{"input": "nope"}, {"output": "nope"}])
def test_an_input_or_output_that_no_signature_has_is_said(
    mnist: ModelServer, connect: Connect, write: Write, keys: dict[str, str]
) -> None:
    with pytest.raises(InvalidInput, match="'nope' or takes no pictures: predict_object takes"):
        list(connect(mnist).predict_files([write("a.png", png(1))], **keys))


def test_the_output_to_rank_can_be_named(
    mnist: ModelServer, connect: Connect, write: Write
) -> None:
    path = write("a.png", png(6))
    labels = {6: "six", 0: "zero"}
    (answer,) = connect(mnist).predict_files([path], output="probabilities", top=3, labels=labels)
    assert (answer.prediction, answer.label) == (6, "six")
    assert [(s.class_, s.label) for s in answer.scores] == [(6, "six"), (0, "zero"), (1, None)]
