"""Pictures, texts and confusion matrices as event files; how TensorBoard shows them: board/."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.conftest import scalars
from training.command_line import TrainingError
from training.confusion import confusion_matrix, write_confusion
from training.quiet_tensorflow import tf
from training.summaries import ScalarWriter, write_pictures, write_text


def values(folder: Path) -> list[Any]:
    files = sorted(folder.glob("events.out.tfevents.*"))
    return [
        value
        for file in files
        for record in tf.compat.v1.io.tf_record_iterator(str(file))
        for value in tf.compat.v1.Event.FromString(record).summary.value
    ]


@pytest.mark.parametrize(
    ("shape", "count", "size"),
    [
        ((8, 6), 1, (6, 8, 1)),
        ((8, 6, 3), 1, (6, 8, 3)),
        ((5, 8, 6), 5, (6, 8, 1)),
        ((5, 8, 6, 4), 5, (6, 8, 4)),
        ((101, 2, 2), 100, (2, 2, 1)),
    ],
)
def test_pictures_of_these_shapes_are_shown(
    tmp_path: Path, shape: tuple[int, ...], count: int, size: tuple[int, int, int]
) -> None:
    write_pictures(tmp_path, "some", np.ones(shape, "float32"), 3)
    (value,) = values(tmp_path)
    width, height, *encoded = tf.make_ndarray(value.tensor).tolist()
    assert (int(width), int(height), len(encoded)) == (*size[:2], count)
    decoded = tf.io.decode_png(encoded[0]).numpy()
    assert decoded.shape == (size[1], size[0], size[2]) and decoded.min() == 255


def test_pictures_of_another_shape_are_told(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"'some' have the shape \[5, 8, 6, 2\]. Give them as"):
        write_pictures(tmp_path, "some", np.ones([5, 8, 6, 2]))


def test_writers_of_the_same_second_do_not_overwrite_each_other(tmp_path: Path) -> None:
    write_text(tmp_path, "a", "first")
    write_text(tmp_path, "b", "second")
    with ScalarWriter(tmp_path) as writer:
        writer.write(1, {"c": 1})
    # By name, the tenth of a process comes before the ninth.
    assert sorted(value.tag for value in values(tmp_path)) == ["a", "b", "c"]


def test_a_confusion_matrix_counts_what_was_taken_for_what(tmp_path: Path) -> None:
    labels, predictions = [0, 0, 1, 2, 2, 2], [0, 1, 1, 2, 2, 0]
    assert confusion_matrix(labels, predictions).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 2]]
    right = write_confusion(tmp_path, labels, predictions, ["a", "b|c", "d", "never"], step=7)
    assert right == {"a": 0.5, "b|c": 1.0, "d": 0.666667}
    found = scalars(tmp_path / "evaluation")
    assert found["class_accuracy/d"] == [(7, pytest.approx(0.666667))]
    by_tag = {value.tag: value for value in values(tmp_path / "evaluation")}
    table = by_tag["confusion_matrix_numbers"].tensor.string_val[0].decode()
    assert "| b\\|c | 0 | 1 | 0 | 0 | 100.0% |" in table
    picture = tf.io.decode_png(by_tag["confusion_matrix"].tensor.string_val[2]).numpy()
    assert picture.shape == (480, 480, 3)
    # Right ones are blue, wrong ones red, and what never happened is white.
    assert picture[60, 60, 2] > picture[60, 60, 0]
    assert picture[60, 180, 0] > picture[60, 180, 2]
    assert picture[180, 60].tolist() == [255, 255, 255]


def test_of_many_classes_those_that_are_mixed_up_most_are_named(tmp_path: Path) -> None:
    labels = np.arange(1000)
    predictions = np.where(labels == 7, 8, labels)
    right = write_confusion(tmp_path, labels, predictions)
    assert len(right) == 1000 and right["7"] == 0
    by_tag = {value.tag: value for value in values(tmp_path / "evaluation")}
    assert sum(tag.startswith("class_accuracy/") for tag in by_tag) == 50
    table = by_tag["confusion_matrix_numbers"].tensor.string_val[0].decode()
    assert table.splitlines()[2:] == ["| 7 | 8 | 1 |"]


@pytest.mark.parametrize(
    ("labels", "predictions", "classes", "text"),
    [
        ([0, 1], [0], None, "2 labels and 1 predictions"),
        ([], [], None, "0 labels"),
        ([0, 3], [0, 1], 3, "go from 0 to 3, and there are 3 classes"),
        ([0, -1], [0, 1], None, "go from -1"),
    ],
)
def test_what_does_not_fit_together_is_told(
    labels: list[int], predictions: list[int], classes: int | None, text: str
) -> None:
    with pytest.raises(TrainingError, match=text):
        confusion_matrix(labels, predictions, classes)
