"""`metrics.json` as boot files write it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.command_line import TrainingError
from training.metrics import METRICS_FILE, read_metrics, write_metrics


def test_numbers_of_any_library_are_written(tmp_path: Path) -> None:
    metrics = {"a": 1, "b": 0.5, "c": np.float32(0.25), "d": np.int64(3), "e": np.array(2.0)}
    write_metrics(tmp_path, metrics)
    written = json.loads((tmp_path / METRICS_FILE).read_text())
    assert written == {"a": 1, "b": 0.5, "c": 0.25, "d": 3, "e": 2.0}
    assert type(written["a"]) is type(written["d"]) is int


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("0.5", "Metric 'mae' is '0.5'. Give one number."),
        ([0.5, 0.4], "Metric 'mae' is [0.5, 0.4]. Give one number."),
        (None, "Metric 'mae' is None. Give one number."),
        (np.float32("nan"), "Metric 'mae' is nan. Try a lower learning rate."),
    ],
)
def test_what_is_no_number_is_named(tmp_path: Path, value: Any, told: str) -> None:
    """A text said "must be real number, not str", of no metric in particular."""
    with pytest.raises(TrainingError) as raised:
        write_metrics(tmp_path, {"loss": 1.0, "mae": value})
    assert str(raised.value) == told
    assert not (tmp_path / METRICS_FILE).exists()


@pytest.mark.parametrize("content", ["1" + "0" * 400, "[" * 100_000, '"text"', "NaN"])
def test_a_file_of_what_no_float_can_hold_is_refused_in_words(tmp_path: Path, content: str) -> None:
    (tmp_path / "metrics.json").write_text(f'{{"loss": {content}}}')
    with pytest.raises(TrainingError, match="'metrics.json' of boot file 'train.py' is not"):
        read_metrics(tmp_path, "train.py")


def test_a_folder_is_no_file_of_metrics(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").mkdir()
    with pytest.raises(TrainingError, match="left no 'metrics.json'"):
        read_metrics(tmp_path, "train.py")
