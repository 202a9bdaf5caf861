"""Batches from a `tf.data.Dataset`: positions in checkpoints, shares of workers, refusals.

Not covered here: what the agent does with a run that was cut short; see agent/test_resume.py.
"""

from pathlib import Path

import numpy as np
import pytest

from tests.training.boot_workers import end, ends, interrupted, start, start_two
from tests.training.conftest import scalars
from training.command_line import TrainingError
from training.quiet_tensorflow import tf
from training.steps.distribution import Distribution
from training.steps.inputs import DatasetInputs, inputs_of


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("kind", "is_read_again"),
    [("one shuffle", False), ("reader", False), ("two shuffles", True), ("generator", True)],
)
def test_a_run_that_is_cut_short_ends_with_the_same_weights(
    tmp_path: Path, kind: str, is_read_again: bool
) -> None:
    """To the last bit, with shuffling, a dropout and passes that end between two checkpoints."""
    kind_of = f"--kind={kind}"
    whole, _ = end(start(tmp_path / "whole", kind_of))
    interrupted([start(tmp_path / "cut", kind_of, "--stop_at=75")])
    resumed, output = end(start(tmp_path / "cut", kind_of))
    assert "Going on from the checkpoint of step 60" in output
    assert ("its position can't be saved" in output) == is_read_again
    assert resumed == whole
    # TensorBoard shows both curves, as if nothing had happened.
    for folder in ("", "evaluation"):
        expected, found = (scalars(tmp_path / run / folder) for run in ("whole", "cut"))
        assert dict(found["loss"]) == dict(expected["loss"])
    assert sorted(dict(found["loss"])) == [25, 50, 75, 100, 120]


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", ["one shuffle", "reader"])
def test_two_workers_share_each_batch_and_go_on_together(tmp_path: Path, kind: str) -> None:
    """A reader gives a worker its share; of whole batches it takes its rows."""
    flags = (f"--kind={kind}", "--dropout=0")
    alone, _ = end(start(tmp_path / "alone" / "x", *flags))
    ours = [one for one, _ in ends(start_two(tmp_path / "two", *flags))]
    assert ours[0]["sha"] == ours[1]["sha"]
    assert ours[0]["weights"] == pytest.approx(alone["weights"], abs=1e-4)
    assert ours[1]["metrics"] == {"loss": None, "best_step": None, "steps": None}

    interrupted(start_two(tmp_path / "cut", *flags, "--stop_at=75"))
    again = [one for one, _ in ends(start_two(tmp_path / "cut", *flags))]
    assert again == ours


def test_what_is_no_batch_of_the_right_size_is_refused() -> None:
    distribution = Distribution()
    examples = tf.data.Dataset.from_tensor_slices((np.zeros([100, 3]), np.zeros([100])))
    with pytest.raises(TrainingError, match=r"batches of 20 examples, but an element's shapes are"):
        DatasetInputs(examples, 20, distribution)
    with pytest.raises(TrainingError, match=r"shapes are \(30, 3\), \(30,\)\. Let it end with"):
        DatasetInputs(examples.batch(30, drop_remainder=True), 20, distribution)
    with pytest.raises(TrainingError, match="input_fn returned list. Let it return a tf.data"):
        inputs_of([1], 20, distribution)
    inputs = DatasetInputs(examples.batch(30), 20, distribution)
    inputs.begin(0, b"")
    with pytest.raises(tf.errors.InvalidArgumentError, match="batches of 20 examples, but it has"):
        inputs.draw(tf.constant(0))


def test_the_rest_of_a_pass_is_left_out_and_another_one_begins() -> None:
    dataset = tf.data.Dataset.range(50).batch(20)
    inputs = DatasetInputs(dataset, 20, Distribution())
    inputs.begin(0, b"")
    drawn = [inputs.draw(tf.constant(0))(0, 1)[0].numpy()[0] for _ in range(5)]
    assert drawn == [0, 20, 0, 20, 0]
    position = inputs.position()
    again = DatasetInputs(dataset, 20, Distribution())
    again.begin(5, position)
    assert again.draw(tf.constant(0))(0, 1)[0].numpy()[0] == 20


def test_replicas_take_equal_rows_of_names_and_ragged_rows() -> None:
    features = {"number": tf.range(6), "words": tf.ragged.range(tf.range(6))}
    dataset = tf.data.Dataset.from_tensor_slices((features, tf.range(6))).batch(6)
    inputs = DatasetInputs(dataset, 6, Distribution())
    inputs.begin(0, b"")
    share_of = inputs.draw(tf.constant(0))
    for share in range(3):
        named, labels = share_of(share, 3)
        rows = [2 * share, 2 * share + 1]
        assert labels.numpy().tolist() == named["number"].numpy().tolist() == rows
        assert named["words"].to_list() == [list(range(row)) for row in rows]


def test_an_empty_dataset_is_told() -> None:
    inputs = DatasetInputs(tf.data.Dataset.range(0).batch(2), 2, Distribution())
    inputs.begin(0, b"")
    with pytest.raises(tf.errors.OutOfRangeError):
        inputs.draw(tf.constant(0))
