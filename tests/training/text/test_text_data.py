"""Reading labelled texts, and what is said of files that are missing or wrong."""

import json
from pathlib import Path

import pytest

from training.command_line import TrainingError
from training.text.text_data import read_texts


def put(folder: Path, train: str, test: str) -> Path:
    (folder / "train.jsonl").write_text(train)
    (folder / "test.jsonl").write_text(test)
    return folder


def row(text: str, label: str) -> str:
    return json.dumps({"text": text, "label": label}) + "\n"


TWO = row("a", "x") + row("b", "y")


def test_classes_are_numbered_in_the_order_of_their_names(tmp_path: Path) -> None:
    train, test, classes = read_texts(put(tmp_path, TWO, row("ü", "y")), "u")
    assert (train.texts, train.labels) == (["a", "b"], [0, 1])
    assert (test.texts, test.labels, classes) == (["ü"], [1], ["x", "y"])


@pytest.mark.parametrize(
    ("train", "test", "error"),
    [
        (TWO, "", "test.jsonl in --data_url='u' has no lines"),
        (TWO + "{", TWO, "Line 3 of train.jsonl in --data_url='u' is not a JSON object"),
        (TWO, '{"text": "a"}', "Line 1 of test.jsonl"),
        (TWO, '{"text": 1, "label": "x"}', "Line 1 of test.jsonl"),
        (TWO, "[]", "Line 1 of test.jsonl"),
        (row("a", "x"), TWO, "has only the label 'x'"),
        (
            TWO,
            row("c", "z"),
            "test.jsonl in --data_url='u' has the label 'z', which is not in train.jsonl. Put",
        ),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(
    tmp_path: Path, train: str, test: str, error: str
) -> None:
    with pytest.raises(TrainingError) as raised:
        read_texts(put(tmp_path, train, test), "u")
    assert error in str(raised.value)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="has no train.jsonl and no test.jsonl. Put texts"):
        read_texts(tmp_path, "u")
