"""What a classifier takes for what: a confusion matrix for TensorBoard, the accuracy of each class.

write_confusion(output, labels, model.predict(pictures).argmax(axis=1), names)
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.command_line import TrainingError
from training.folders import EVALUATION_FOLDER
from training.summaries import ScalarWriter

_SIDE = 480
"""Pixels of the picture at least; a cell has no fewer than one."""
_MOST_IN_TABLE = 50
"""Classes whose numbers are written out, and have a scalar each."""


def write_confusion(
    output: Path,
    labels: Any,
    predictions: Any,
    names: Sequence[str] | None = None,
    step: int = 0,
) -> dict[str, float]:
    """Write to `evaluation/` which classes were taken for which, and return how many were right.

    TensorBoard shows the matrix as a picture (rows: what it is, columns: what it was taken for,
    darker: more of a row) and as a table, and `class_accuracy/NAME` as scalars, of the first 50
    classes.

    Args:
        output: the folder of `--train_url`.
        labels: integers [n], what the examples are.
        predictions: integers [n], what the model took them for.
        names: of the classes; default: their numbers.
        step: of the training.

    Returns:
        Name -> share of the examples of this class that were taken for it. Classes without
        examples are left out.

    Raises:
        TrainingError: labels and predictions don't fit together.
    """
    matrix = confusion_matrix(labels, predictions, None if names is None else len(names))
    named = [str(number) for number in range(len(matrix))] if names is None else list(names)
    totals = matrix.sum(axis=1)
    right = {
        name: round(float(matrix[number, number] / totals[number]), 6)
        for number, name in enumerate(named)
        if totals[number]
    }
    with ScalarWriter(output / EVALUATION_FOLDER) as writer:
        shown = list(right.items())[:_MOST_IN_TABLE]
        writer.write(step, {f"class_accuracy/{name}": value for name, value in shown})
        writer.pictures(
            step, "confusion_matrix", _picture(matrix), f"Rows: what it is: {', '.join(named[:50])}"
        )
        writer.text(step, "confusion_matrix_numbers", _table(matrix, named, right))
    return right


def confusion_matrix(labels: Any, predictions: Any, classes: int | None = None) -> "np.ndarray":
    """Return how many examples of each class (row) were taken for which class (column)."""
    is_, taken_for = (np.asarray(one).reshape(-1).astype(np.int64) for one in (labels, predictions))
    if len(is_) != len(taken_for) or not len(is_):
        raise TrainingError(
            f"A confusion matrix needs a prediction for each label: there are {len(is_)} labels "
            f"and {len(taken_for)} predictions."
        )
    highest = int(max(is_.max(), taken_for.max()))
    count = highest + 1 if classes is None else classes
    if highest >= count or min(is_.min(), taken_for.min()) < 0:
        raise TrainingError(
            f"Labels and predictions go from {min(is_.min(), taken_for.min())} to {highest}, and "
            f"there are {count} classes. Classes are numbered from 0."
        )
    matrix = np.zeros([count, count], np.int64)
    np.add.at(matrix, (is_, taken_for), 1)
    return matrix


def _picture(matrix: "np.ndarray") -> "np.ndarray":
    """Return the matrix in colours, uint8 [height, width, 3]: right ones blue, wrong ones red."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    # The root: single mistakes among thousands are to be seen.
    strength = np.sqrt(shares)[..., np.newaxis]
    colours = np.full([*matrix.shape, 3], (200, 40, 30), float)
    colours[np.diag_indices(len(matrix))] = (30, 80, 170)
    cells = 255 - strength * (255 - colours)
    side = max(1, -(-_SIDE // len(matrix)))
    picture = cells.repeat(side, axis=0).repeat(side, axis=1)
    if side > 4:
        picture[::side], picture[:, ::side] = 225, 225
    found: np.ndarray = picture.round().astype(np.uint8)
    return found


def _table(matrix: "np.ndarray", names: Sequence[str], right: dict[str, float]) -> str:
    """Return the matrix as Markdown, or of many classes those that are mixed up most."""
    if len(names) <= _MOST_IN_TABLE:
        head = ["is \\ taken for", *names, "right"]
        rows = [
            [name, *map(str, row), f"{right[name]:.1%}" if name in right else ""]
            for name, row in zip(names, matrix.tolist(), strict=True)
        ]
    else:
        wrong = matrix.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(wrong, axis=None)[::-1][:_MOST_IN_TABLE]
        pairs = [np.unravel_index(one, wrong.shape) for one in order]
        head = ["is", "taken for", "how often"]
        rows = [[names[a], names[b], str(wrong[a, b])] for a, b in pairs if wrong[a, b]]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
