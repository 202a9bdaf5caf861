"""What notebooks show: well-formed, escaped, small. How it looks is not covered."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from client import (
    ExamplePrediction,
    ExamplePredictions,
    ModelMetadata,
    ModelStatus,
    Prediction,
    Score,
    Signature,
    TensorSpec,
    VersionStatus,
)

EVIL = "<script>&\"'"


def shown(result: object) -> ElementTree.Element:
    """Return the HTML of a result, which is also well-formed XML."""
    html = result._repr_html_()  # type: ignore[attr-defined]
    assert len(html) < 4000
    return ElementTree.fromstring(f"<div>{html}</div>")


def cells(result: object) -> list[list[str]]:
    return [["".join(cell.itertext()) for cell in row] for row in shown(result).iter("tr")]


RESULTS = [
    Prediction(EVIL, 1, EVIL, {EVIL: np.array([EVIL.encode()], object)}),
    ExamplePrediction(EVIL, EVIL, EVIL, 1, EVIL, (Score(1, 0.5, EVIL),), 0.5, EVIL, EVIL),
    ModelMetadata(EVIL, 1, {EVIL: Signature(EVIL, {EVIL: TensorSpec(EVIL, EVIL, None)}, {})}),
    ModelStatus(EVIL, (VersionStatus(1, "END", "INTERNAL", EVIL),)),
    ExamplePredictions(
        [ExamplePrediction(EVIL, EVIL, EVIL, 1, EVIL, (Score(1, 0.5, EVIL),), 0.5, EVIL, EVIL)]
    ),
]


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: type(result).__name__)
def test_names_and_texts_of_the_server_are_escaped(result: object) -> None:
    tags = {element.tag for element in shown(result).iter()}
    assert tags <= {"div", "table", "caption", "tr", "th", "td"}
    assert "<script>" in "".join(shown(result).itertext())


def test_a_prediction_is_a_table_of_its_outputs() -> None:
    outputs = {"y": np.zeros((2, 1), np.float32), "big": np.zeros((1000, 10))}
    head, y, big = cells(Prediction("m", 3, "s", outputs))
    assert head == ["output", "dtype", "shape", "values"]
    assert y == ["y", "float32", "[2, 1]", "[[0.0], [0.0]]"]
    assert big[3].endswith("...")


def test_an_example_has_its_answer_and_a_bar_for_each_class() -> None:
    scores = (Score(3, 0.75, "three"), Score(1, -2.0), Score(0, 7.0))
    example = ExamplePrediction("a.png", 3, "m", 1, "s", scores, 0.75, "three", "", {"size": 2})
    assert cells(example) == [
        ["source", "a.png"],
        ["prediction", "3 (three)"],
        ["size", "2"],
        ["3", "three", "", "75.00%"],
        ["1", "", "", "-2"],
        ["0", "", "", "7"],
    ]
    bars = [bar.get("style", "") for bar in shown(example).iter("div")][1:]
    assert [bar.rpartition("width:")[2] for bar in bars] == ["75.0%", "0.0%", "100.0%"]


def test_several_examples_are_one_table_of_bounded_length() -> None:
    sure = ExamplePrediction("a.png", 3, "m", 1, "s", confidence=0.75, label="three")
    plain = ExamplePrediction("b.csv:2", 430.9212, "m", 1, "s", unit="EUR")
    assert cells(ExamplePredictions([sure, plain])) == [
        ["source", "prediction", "", ""],
        ["a.png", "3 (three)", "", "75.00%"],
        ["b.csv:2", "430.9212 EUR", "", ""],
    ]
    many = ExamplePredictions([plain] * 10_000)
    html = many._repr_html_()
    assert len(html) < 20_000
    assert "and 9800 more" in html
    assert cells(ExamplePredictions()) == []


def test_metadata_and_status_are_tables() -> None:
    x, y = TensorSpec("x", "float32", (None, 2)), TensorSpec("y", "string", None)
    metadata = ModelMetadata("m", 1, {"s": Signature("s", {"x": x}, {"y": y})})
    assert cells(metadata)[1:] == [
        ["s", "takes", "x", "float32", "[?, 2]"],
        ["s", "gives", "y", "string", "[...]"],
    ]
    status = ModelStatus("m", (VersionStatus(2, "AVAILABLE", "OK", ""),))
    assert cells(status)[1:] == [["2", "AVAILABLE", "OK", ""]]
