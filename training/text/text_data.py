"""Labelled texts as JSON lines, with an error that names file and line for each fault."""

import json
from dataclasses import dataclass
from pathlib import Path

from training.command_line import TrainingError

TRAIN_FILE, TEST_FILE = "train.jsonl", "test.jsonl"


@dataclass(frozen=True)
class Texts:
    """Texts and what each is about."""

    texts: list[str]
    labels: list[int]
    """Positions in the list of classes."""


def read_texts(folder: Path, url: str) -> tuple[Texts, Texts, list[str]]:
    """Return training set, test set and the names of the classes, sorted.

    Each line of `train.jsonl` and `test.jsonl` is like `{"text": "Who is it?", "label": "phone"}`.

    Args:
        url: how the user called the folder, for errors.

    Raises:
        TrainingError: a file is missing or not like that, or the training set has one class only.
    """
    missing = [name for name in (TRAIN_FILE, TEST_FILE) if not (folder / name).is_file()]
    if missing:
        raise TrainingError(
            f"--data_url={url!r} has no {' and no '.join(missing)}. Put texts there: "
            "'python3 -m training.datasets.generate_messages' makes some."
        )
    training, test = (_read(folder / name, url) for name in (TRAIN_FILE, TEST_FILE))
    classes = sorted({label for _, label in training})
    if len(classes) < 2:
        raise TrainingError(
            f"{TRAIN_FILE} in --data_url={url!r} has only the label {classes[0]!r}. "
            "Give texts of two kinds or more."
        )
    unknown = sorted({label for _, label in test} - set(classes))
    if unknown:
        raise TrainingError(
            f"{TEST_FILE} in --data_url={url!r} has the label {unknown[0]!r}, which is not in "
            f"{TRAIN_FILE}. Put texts with this label there, or remove them here."
        )
    number = {name: position for position, name in enumerate(classes)}
    sets = [
        Texts([text for text, _ in rows], [number[label] for _, label in rows])
        for rows in (training, test)
    ]
    return sets[0], sets[1], classes


def _read(file: Path, url: str) -> list[tuple[str, str]]:
    rows = []
    for number, line in enumerate(file.read_bytes().splitlines(), start=1):
        try:
            row = json.loads(line)
            text, label = row["text"], row["label"]
        except (ValueError, KeyError, TypeError) as error:
            raise _fault(file, url, number) from error
        if not (isinstance(text, str) and isinstance(label, str)):
            raise _fault(file, url, number)
        rows.append((text, label))
    if not rows:
        raise TrainingError(f"{file.name} in --data_url={url!r} has no lines. Give it some.")
    return rows


def _fault(file: Path, url: str, number: int) -> TrainingError:
    return TrainingError(
        f"Line {number} of {file.name} in --data_url={url!r} is not a JSON object with the strings "
        '"text" and "label". Correct it.'
    )
