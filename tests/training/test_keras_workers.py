"""Keras' `fit` by two workers: processes on this machine, without their agents."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.boot_workers import end, ends, interrupted, start, start_two
from tests.training.conftest import ROOT, scalars
from training.command_line import TrainingError
from training.keras_workers import Workers, joined
from training.quiet_tensorflow import tf
from training.tf_config import format_tf_config

BOOT = "keras_boot"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_two_workers_train_what_one_does_and_the_first_alone_writes(tmp_path: Path) -> None:
    """Equal weights to the last bit, the history of one worker, checkpoints, an early end."""
    alone, _ = end(start(tmp_path / "alone" / "x", boot=BOOT))
    ours = [found for found, _ in ends(start_two(tmp_path / "two", boot=BOOT))]
    assert ours[0]["sha"] == ours[1]["sha"] and ours[0]["losses"] == ours[1]["losses"]
    assert ours[0]["weights"] == pytest.approx(alone["weights"], abs=1e-4)
    for name in ("losses", "training"):
        assert ours[0][name] == pytest.approx(alone[name], abs=1e-3)
    assert len(alone["losses"]) < 12
    assert ours[1]["files"] == [] and "checkpoints" in ours[0]["files"]
    logged, expected = (scalars(tmp_path / run)["loss"] for run in ("two/worker0", "alone/x"))
    assert [step for step, _ in logged] == [step for step, _ in expected]
    assert [value for _, value in logged] == pytest.approx([v for _, v in expected], abs=1e-3)

    interrupted(start_two(tmp_path / "cut", "--stop_at=3", boot=BOOT))
    again = [found for found, _ in ends(start_two(tmp_path / "cut", boot=BOOT))]
    assert again[0]["sha"] == again[1]["sha"]
    assert again[0]["losses"][:2] == pytest.approx(ours[0]["losses"][3:5], abs=1e-3)


@pytest.mark.slow
def test_fit_without_the_workers_is_refused_before_it_trains(tmp_path: Path) -> None:
    program = """
from training import keras_callback
from training.quiet_tensorflow import tf
model = tf.keras.Sequential([tf.keras.Input([4]), tf.keras.layers.Dense(1)])
model.compile("sgd", "mse")
keras_callback.JobCallback("out", model)
"""
    config = format_tf_config(["127.0.0.1:1", "127.0.0.1:2"], 0)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TF_CONFIG": config, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "TrainingError: nodeCount is 2, but 'model.fit' would train a model" in done.stderr


def test_what_workers_cannot_share_is_refused() -> None:
    with joined() as workers:
        with pytest.raises(TrainingError, match="fit was given ndarray, which workers can't share"):
            workers.fit(None, __import__("numpy").zeros(3))
        assert (workers.count, workers.is_chief) == (1, True)
        assert workers.mean({"loss": 1.0}) == {"loss": 1.0}


def test_rows_that_cannot_be_shared_are_left_out_and_no_share_is_empty() -> None:
    dataset = tf.data.Dataset.range(10).batch(4)
    found = []
    for index in range(3):
        with joined() as workers:
            workers.count, workers.index = 3, index
            shares = Workers._share_of(workers, dataset)
            found.append([batch.tolist() for batch in shares.as_numpy_iterator()])
    assert found == [[[0], [4], [8]], [[1], [5], [9]], [[2], [6], [9]]]
