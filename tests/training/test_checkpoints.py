"""Checkpoints: which are gone on from, which are refused, what an interrupted save leaves."""

from pathlib import Path

import pytest

from training.checkpoints import Checkpoints
from training.command_line import TrainingError
from training.quiet_tensorflow import tf


def variable_of(value: float) -> "tf.train.Checkpoint":
    return tf.train.Checkpoint(value=tf.Variable(value))


def test_checkpoints_of_a_run_with_other_parameters_are_refused(tmp_path: Path) -> None:
    Checkpoints(variable_of(1.0), tmp_path, {"model": "cnn", "seed": 1}).save(10)

    Checkpoints(variable_of(1.0), tmp_path, {"model": "cnn", "seed": 1})
    with pytest.raises(TrainingError, match="has checkpoints of a run with --model=cnn. Give"):
        Checkpoints(variable_of(1.0), tmp_path, {"model": "softmax", "seed": 1})


def test_a_checkpoint_that_does_not_fit_or_is_damaged_is_reported_in_one_line(
    tmp_path: Path,
) -> None:
    Checkpoints(variable_of(1.0), tmp_path, {}).save(10)
    other = tf.train.Checkpoint(another=tf.Variable([1.0, 2.0]))
    with pytest.raises(TrainingError, match="step-10' can't be restored: .*Delete it") as raised:
        Checkpoints(other, tmp_path, {}).restore()
    assert "\n" not in str(raised.value)

    next((tmp_path / "checkpoints").glob("step-10.data*")).write_bytes(b"")
    with pytest.raises(TrainingError, match="step-10' can't be restored: ") as raised:
        Checkpoints(variable_of(0.0), tmp_path, {}).restore()
    assert "\n" not in str(raised.value)


def test_what_an_interrupted_save_left_is_deleted(tmp_path: Path) -> None:
    Checkpoints(variable_of(1.0), tmp_path, {}).save(10)
    (tmp_path / "checkpoints" / "step-20.data-00000-of-00001").write_bytes(b"half")

    assert Checkpoints(variable_of(0.0), tmp_path, {}).restore() == 10
    assert sorted(file.name for file in (tmp_path / "checkpoints").iterdir()) == [
        "checkpoint",
        "parameters.json",
        "step-10.data-00000-of-00001",
        "step-10.index",
    ]
