"""`metrics.json`: what a boot file measured."""

import json
import math
import os
import re
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

from training.command_line import TrainingError

METRICS_FILE = "metrics.json"
LESS_IS_BETTER = (
    *("loss", "error", "err", "entropy", "divergence", "deviance", "perplexity", "brier", "nll"),
    *("mae", "mse", "rmse", "mape", "msle", "wer", "cer", "latency", "seconds"),
)
MORE_IS_BETTER = (
    *("accuracy", "acc", "precision", "recall", "sensitivity", "specificity", "f1", "fbeta"),
    *("auc", "auroc", "ap", "map", "ndcg", "mrr", "iou", "miou", "dice", "bleu", "rouge", "r2"),
    *("kappa", "score"),
)
"""Words in names of metrics. `infra.settings.regressions` has the same, for dlstack:maxRegression.
"""


def write_metrics(folder: Path, metrics: Mapping[str, float]) -> None:
    """Write metric name -> finite number to `metrics.json`; readers never see half a file."""
    numbers = {name: _number(name, value) for name, value in metrics.items()}
    temporary = folder / f".{METRICS_FILE}.part"
    temporary.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, folder / METRICS_FILE)


def _number(name: str, value: Any) -> float:
    """Return a metric as JSON has it: an int or a float, also of one of numpy or TensorFlow."""
    try:
        if isinstance(value, str | bytes):
            raise TypeError
        number = int(value) if isinstance(value, Integral) else float(value)
    except (TypeError, ValueError) as error:
        raise TrainingError(f"Metric {name!r} is {value!r}. Give one number.") from error
    if not math.isfinite(number):
        raise TrainingError(f"Metric {name!r} is {number}. Try a lower learning rate.")
    return number


def read_metrics(folder: Path, boot_file: str) -> dict[str, float]:
    """Return what `boot_file` wrote; raise TrainingError unless it is name -> finite number."""
    file = folder / METRICS_FILE
    try:
        metrics = json.loads(file.read_bytes())
    except (FileNotFoundError, IsADirectoryError) as error:
        raise TrainingError(
            f"Boot file '{boot_file}' left no '{METRICS_FILE}' in --train_url. "
            'Let it write a JSON object to that folder, like {"accuracy": 0.99}: a path without '
            "it begins in the code folder."
        ) from error
    except (ValueError, RecursionError) as error:
        raise TrainingError(
            f"'{METRICS_FILE}' of boot file '{boot_file}' is not JSON: {error}. "
            'Let it write an object like {"accuracy": 0.99}; float(value) makes a number of one of '
            "numpy."
        ) from error
    if not isinstance(metrics, dict) or not all(map(_is_number, metrics.values())):
        raise TrainingError(
            f"'{METRICS_FILE}' of boot file '{boot_file}' is not a JSON object of names to finite "
            f'numbers: {str(metrics)[:200]!r}. Write one like {{"accuracy": 0.99}}.'
        )
    return {str(name): value for name, value in metrics.items()}


def less_is_better(name: str) -> bool | None:
    """Say what the words in a metric's name tell, such as `val_loss`; None: nothing, or both.

    Short words count alone, others also at the end of a longer one, such as `logloss`.
    """
    parts = re.split(r"[^a-z0-9]+", name.lower())
    less, more = (
        any(
            part == word or (len(word) > 3 and part.endswith(word)) for part in parts for word in of
        )
        for of in (LESS_IS_BETTER, MORE_IS_BETTER)
    )
    return None if less == more else less


def _is_number(value: Any) -> bool:
    """Say whether a value of JSON is a finite number that a float can hold."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
