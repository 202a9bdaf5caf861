"""What outputs say to each example: classes, confidences, names, numbers. No server is asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from client import (
    About,
    ExamplePrediction,
    InvalidInput,
    ModelMetadata,
    Prediction,
    Signature,
    TensorAbout,
    TensorSpec,
)
from client._command.output import answer_json, answer_text
from client._inputs.choice import Choice
from client._inputs.example import Example
from client._inputs.notes import Notes
from client._outputs.answers import Answers

SIGNATURE = Signature("s", {}, {})


def read(
    outputs: dict[str, Any], about: dict[str, TensorAbout] | None = None, **options: Any
) -> tuple[list[ExamplePrediction], list[str]]:
    """Return the answers that outputs of two rows give, and what is told."""
    arrays = {
        name: np.array(value, object) if isinstance(np.ravel(value)[0], bytes) else np.array(value)
        for name, value in outputs.items()
    }
    arrays = {
        name: value.astype(np.float32) if value.dtype == np.float64 else value
        for name, value in arrays.items()
    }
    notes: list[str] = []
    answers = Answers(
        Notes(notes.append), about=About(outputs=about or {}) if about else None, **options
    )
    rows = len(next(iter(arrays.values())))
    batch = [Example(name, SIGNATURE, {}) for name in "ab"[:rows]]
    return answers.of(batch, Prediction("m", 1, "s", arrays)), notes


def texts(outputs: dict[str, Any], **options: Any) -> tuple[list[str], list[str]]:
    answers, notes = read(outputs, **options)
    return [answer_text(answer).partition(": ")[2] for answer in answers], notes


SORTED = {
    "labels": np.array([[4, 0, 2], [1, 2, 0]], np.int32),
    "confidences": [[0.7, 0.2, 0.1], [0.5, 0.3, 0.2]],
}
"""The managed service's way: classes and confidences, best first. Positions in `confidences` are no
classes."""


def test_classes_beside_confidences_are_classes_and_not_positions() -> None:
    assert texts(SORTED) == (["4 70.00%", "1 50.00%"], [])
    assert texts(SORTED, top=2) == (["4 70.00%, 0 20.00%", "1 50.00%, 2 30.00%"], [])
    names = {4: "tulip", 0: "rose", 1: "daisy"}
    assert texts(SORTED, top=2, labels=names)[0] == [
        "4 (tulip) 70.00%, 0 (rose) 20.00%",
        "1 (daisy) 50.00%, 2 30.00%",
    ]
    assert texts(SORTED, top=2, output="confidences")[0][0] == "4 70.00%, 0 20.00%"
    answers, _ = read(SORTED, output="labels")
    assert answers[0].prediction == [4, 0, 2]


def test_classes_of_text_are_their_own_names() -> None:
    outputs = {"classes": [[b"cat", b"dog"], [b"dog", b"cat"]], "scores": [[0.6, 0.4], [0.9, 0.1]]}
    assert texts(outputs)[0] == ["cat 60.00%", "dog 90.00%"]
    assert texts(outputs, top=2)[0][0] == "cat 60.00%, dog 40.00%"
    answers, _ = read(outputs, top=1)
    assert answer_json(answers[0]) == {
        "source": "a",
        "prediction": "cat",
        "confidence": 0.6,
        "scores": [{"class": None, "probability": 0.6, "label": "cat"}],
    }


def test_one_class_beside_its_confidence() -> None:
    assert texts({"class_ids": [3, 7], "scores": [0.5, 1.0]})[0] == ["3 50.00%", "7 100.00%"]
    named = {"labels": [b"cat", b"mouse"], "confidences": [0.5, 1.0]}
    assert texts(named)[0] == ["cat 50.00%", "mouse 100.00%"]


def test_a_name_beside_probabilities_alone_is_that_of_the_surest_class() -> None:
    """Keras code without a number for the class: both outputs were shown as they are."""
    outputs = {"labels": [b"cat", b"dog"], "probabilities": [[0.6, 0.4], [0.1, 0.9]]}
    assert texts(outputs)[0] == ["0 (cat) 60.00%", "1 (dog) 90.00%"]
    about = {"probabilities": TensorAbout(labels=("Katze", "Hund"))}
    assert texts(outputs, about=about, top=2)[0][0] == "0 (Katze) 60.00%, 1 (Hund) 40.00%"


def test_flags_of_several_classes_are_no_list_of_classes() -> None:
    outputs = {"labels": [[0, 1, 1], [0, 0, 0]], "confidences": [[0.1, 0.9, 0.8], [0.1, 0.2, 0.3]]}
    answers, _ = read(outputs)
    assert answers[0].prediction == {"labels": [0, 1, 1], "confidences": [0.1, 0.9, 0.8]}


def test_an_output_that_looks_like_probabilities_is_ranked_which_is_said() -> None:
    outputs = {"output_0": [[0.1, 0.2, 0.7], [0.9, 0.1, 0.0]]}
    found, notes = texts(outputs)
    assert found == ["2 70.00%", "0 90.00%"]
    assert notes == [
        "Output 'output_0' is read as a number for each class, which the model does not say. "
        "--output output_0 shows it as it is."
    ]
    assert texts(outputs, output="output_0") == (["[0.1, 0.2, 0.7]", "[0.9, 0.1, 0.0]"], [])
    about = {"output_0": TensorAbout(labels=("circle", "square", "star"))}
    assert texts(outputs, about=about) == (["2 (star) 70.00%", "0 (circle) 90.00%"], [])


@pytest.mark.parametrize(
    "output",
    [
        [[0.2, 0.2, 0.7], [1.0, 1.0, 0.0]],  # Sums that are not 1.
        [[-2.0, 3.0], [0.5, 0.5]],
        [[1.0], [1.0]],
        [[np.nan, 1.0], [0.5, 0.5]],
    ],
)
def test_other_numbers_are_not_taken_for_classes_unasked(output: Any) -> None:
    answers, notes = read({"output_0": output})
    assert ([answer.confidence for answer in answers], notes) == ([None, None], [])


def test_numbers_that_are_no_probabilities_are_ranked_when_asked_which_is_said() -> None:
    found, notes = texts({"logits": [[-2.0, 3.5, 0.5]]}, top=2)
    assert found == ["1 3.5, 2 50.00%"]
    assert len(notes) == 1


@pytest.mark.parametrize("shape", [(2,), (2, 1), (2, 1, 1)])
@pytest.mark.parametrize("options", [{}, {"output": "probabilities"}])
def test_one_number_is_never_ranked_as_classes(
    shape: tuple[int, ...], options: dict[str, str]
) -> None:
    """`--top 2` on a sigmoid said `0 96.90%`, but that is the probability of class 1."""
    outputs = {"probabilities": np.reshape([0.969, 0.031], shape)}
    with pytest.raises(InvalidInput, match="'probabilities' is one value for each example"):
        read(outputs, top=2, **options)
    answers, notes = read(outputs, labels={0: "no", 1: "yes"}, **options)
    assert [(each.confidence, each.label) for each in answers] == [(None, None)] * 2
    assert len(notes) == 1  # The labels name nothing.


def test_one_number_beside_the_class_is_shown_beside_it() -> None:
    outputs = {"predictions": [1, 0], "probabilities": [[0.969], [0.031]]}
    first, second = read(outputs)[0]
    assert (first.prediction, first.confidence, first.outputs) == (
        1,
        None,
        {"probabilities": [0.969]},
    )
    assert (second.prediction, second.confidence) == (0, None)


def test_a_signature_of_one_number_does_not_rank() -> None:
    inputs = {"x": TensorSpec("x", "float32", (None, 3))}
    signatures = {
        name: Signature(
            name, inputs, {"probabilities": TensorSpec("probabilities", "float32", (None, size))}
        )
        for name, size in (("serving_default", 1), ("whole", 2))
    }
    choice = Choice(ModelMetadata("m", 1, signatures), top=True)
    assert choice.tensors().name == "whole"


def test_with_nothing_to_rank_it_is_said_what_there_is() -> None:
    with pytest.raises(InvalidInput, match=r"Name an output to rank \(a, b\)"):
        read({"a": [[1.0, 2.0]], "b": [[1.0, 2.0]]}, top=1)
    with pytest.raises(InvalidInput, match="'text' holds no numbers to rank"):
        read({"text": [b"x"]}, top=1, output="text")


def test_numbers_have_as_many_digits_as_they_have() -> None:
    """A float32 was printed as 430.92120361328125."""
    assert texts({"price": [[430.9212], [0.1]]})[0] == ["[430.9212]", "[0.1]"]
    assert texts({"price": [430.9212, 1e-7]})[0] == ["430.9212", "1e-07"]
    doubles = {"price": np.array([430.92120361328125])}
    answers = Answers(Notes(None)).of(
        [Example("a", SIGNATURE, {})], Prediction("m", 1, "s", doubles)
    )
    assert answers[0].prediction == 430.92120361328125
    about = {"price": TensorAbout(unit="EUR")}
    assert texts({"price": [430.9212]}, about=about)[0] == ["430.9212 EUR"]


def test_labels_without_an_effect_are_said() -> None:
    _, notes = read({"price": [1.5, 2.5]}, labels={0: "zero"})
    assert notes == [
        "The labels have no effect: nothing of what signature 's' gives (price) is a class. "
        "Name one with --output."
    ]
    _, notes = read({"a": [1.0, 2.0], "b": [1.0, 2.0]}, labels={0: "zero"})
    assert len(notes) == 1
    for outputs in (SORTED, {"predictions": [1, 2]}, {"digit": [1, 2]}):
        assert read(outputs, labels={0: "zero"})[1] == []


def test_labels_name_integers_that_are_alone_or_called_so() -> None:
    names = {1: "one"}
    assert texts({"digit": [1, 2]}, labels=names)[0] == ["1 (one)", "2"]
    about = {"digit": TensorAbout(labels=("null", "eins"))}
    assert texts({"digit": [1, 2]}, about=about, output="digit")[0] == ["1 (eins)", "2"]
    assert texts({"digit": [1, 2]}, about=about, labels=names)[0] == ["1 (one)", "2"]


TEXT = {
    "predictions": [1, 0],
    "labels": [b"delivery", b"returns"],
    "probabilities": [[0.2, 0.8], [0.9, 0.1]],
}
"""The text example's: `labels` names the class in `predictions`."""


def test_the_names_a_model_gives_its_answers_are_taken_unless_others_are_given() -> None:
    assert texts(TEXT)[0] == ["1 (delivery) 80.00%", "0 (returns) 90.00%"]
    assert texts(TEXT, top=2)[0][0] == "1 (delivery) 80.00%, 0 20.00%"
    assert texts(TEXT, labels={1: "Lieferung"})[0][0] == "1 (Lieferung) 80.00%"
    assert texts(TEXT, output="labels")[0] == ["delivery", "returns"]
    about = {"probabilities": TensorAbout(labels=("returns", "delivery"))}
    assert texts(TEXT, about=about, top=2)[0][0] == "1 (delivery) 80.00%, 0 (returns) 20.00%"


def test_the_answer_need_not_be_the_surest_class() -> None:
    outputs = {"predictions": [0], "probabilities": [[0.3, 0.7]]}
    assert texts(outputs)[0] == ["0 30.00%"]
    assert texts(outputs, top=1)[0] == ["0 30.00%: 1 70.00%"]


def test_what_a_model_gives_besides_is_kept() -> None:
    outputs = {"predictions": [1], "probabilities": [[0.3, 0.7]], "embedding": [[0.5, 1.5]]}
    (answer,), _ = read(outputs)
    assert (answer.prediction, answer.outputs) == (1, {"embedding": [0.5, 1.5]})
    (answer,), _ = read({"probabilities": [[0.3, 0.7]], "embedding": [[0.5, 1.5]]})
    assert answer.confidence == 0.7
    assert answer.prediction == {"probabilities": [0.3, 0.7], "embedding": [0.5, 1.5]}


def test_an_output_without_a_row_for_each_example_is_said() -> None:
    with pytest.raises(InvalidInput, match=r"Output 'y' has shape \[1\] for 2 examples"):
        Answers(Notes(None)).of(
            [Example("a", SIGNATURE, {}), Example("b", SIGNATURE, {})],
            Prediction("m", 1, "s", {"y": np.zeros(1)}),
        )
