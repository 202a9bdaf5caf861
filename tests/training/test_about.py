"""What a model says of itself: checked before the training, and served as a signature."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.about import about_signature, check_about, text_of
from training.command_line import TrainingError
from training.export import export_model
from training.quiet_tensorflow import tf

ABOUT = {
    "title": "Häuser",
    "inputs": {
        "area": {"description": "Living area", "unit": "m²", "range": [0, 1e4], "example": 80},
        "kind": {"choices": ["flat", "house", 3]},
        "photo_bytes": {"drawing": False},
    },
    "outputs": {"price": {"unit": "€", "description": "In a year"}, "class": {"labels": ["a"]}},
}


def signatures() -> dict[str, Any]:
    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, name="area"),
            tf.TensorSpec([None], tf.string, name="kind"),
        ]
    )
    def of_numbers(area, kind):
        return {"price": area}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def of_a_photo(photo_bytes):
        return {"price": tf.zeros_like(photo_bytes, tf.float32), "class": photo_bytes}

    return {"serving_default": of_numbers, "photo": of_a_photo}


def test_every_question_gets_the_json_text(tmp_path: Path) -> None:
    folder = export_model(tmp_path, tf.Module(), signatures(), about=ABOUT)
    about = tf.saved_model.load(str(folder)).signatures["about"]
    assert about.structured_input_signature[1]["question"].shape.as_list() == [None]
    for rows in (0, 1, 3):
        answer = about(question=tf.fill([rows], "?"))["json"].numpy().tolist()
        assert [json.loads(text) for text in answer] == [ABOUT] * rows


def test_a_few_bytes_do_not_ask_for_gigabytes() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most 1024 questions"):
        about_signature(ABOUT)(tf.fill([1025], ""))


def test_without_about_there_is_no_such_signature(tmp_path: Path) -> None:
    folder = export_model(tmp_path, tf.Module(), signatures())
    assert set(tf.saved_model.load(str(folder)).signatures) == {"serving_default", "photo"}


@pytest.mark.parametrize(
    ("about", "text"),
    [
        ([], r"about is \[\]. Give an object"),
        ({"titel": "x"}, "about has the key 'titel'. Use only: title, inputs, outputs."),
        ({"title": " "}, r"about\['title'\] is ' '. Give a text that is not empty."),
        ({"inputs": ["area"]}, r"about\['inputs'\] is \['area'\]. Give an object"),
        ({"inputs": {"area": "m"}}, r"about\['inputs'\]\['area'\] is 'm'. Give an object"),
        ({"inputs": {"area": {"labels": ["a"]}}}, "has the key 'labels'. Use only: description, r"),
        ({"inputs": {"area": {"range": [1, 0]}}}, r"\['range'\] is \[1, 0\]. Give two finite"),
        ({"inputs": {"area": {"range": [0, float("inf")]}}}, r"is \[0, inf\]. Give two finite"),
        ({"inputs": {"kind": {"choices": []}}}, r"is \[\]. Give a list of texts or numbers"),
        ({"inputs": {"kind": {"drawing": 1}}}, "is 1. Give True or False."),
        ({"inputs": {"area": {"example": np.zeros(2)}}}, "can't be written as JSON .*tolist"),
        ({"inputs": {"area": {"example": float("nan")}}}, "can't be written as JSON"),
        ({"outputs": {"price": {"unit": 5}}}, "is 5. Give a text that is not empty."),
        ({"outputs": {"class": {"labels": "ab"}}}, "is 'ab'. Give a list of texts, one for each"),
        ({"outputs": {"class": {"labels": [1, 2]}}}, r"is \[1, 2\]. Give a list of texts"),
    ],
)
def test_a_fault_is_named_with_its_place_and_its_cure(about: Any, text: str) -> None:
    with pytest.raises(TrainingError, match=text):
        text_of(about)


@pytest.mark.parametrize(
    ("about", "text"),
    [
        (
            {"inputs": {"aera": {}}},
            r"tells of 'aera', which is no input of any signature. Use one of: area, kind, photo_",
        ),
        ({"outputs": {"area": {}}}, "which is no output of any signature. Use one of: class, pri"),
    ],
)
def test_a_name_that_no_signature_has_is_refused(about: Any, text: str) -> None:
    with pytest.raises(TrainingError, match=text):
        check_about(about, signatures())


def test_a_model_has_one_signature_of_that_name() -> None:
    own = {**signatures(), "about": about_signature({})}
    with pytest.raises(TrainingError, match="a signature 'about' of its own"):
        check_about(ABOUT, own)
    check_about(ABOUT, signatures())
