"""`metrics.json`: what a boot file measured."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

from training.command_line import TrainingError

METRICS_FILE = "metrics.json"


def write_metrics(folder: Path, metrics: Mapping[str, float]) -> None:
    """Write metric name -> finite number to `metrics.json`; readers never see half a file."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise TrainingError(f"Metric {name!r} is {value}. Try a lower learning rate.")
    temporary = folder / f".{METRICS_FILE}.part"
    temporary.write_text(json.dumps(dict(metrics), indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, folder / METRICS_FILE)


def read_metrics(folder: Path, boot_file: str) -> dict[str, float]:
    """Return what `boot_file` wrote; raise TrainingError unless it is name -> finite number."""
    file = folder / METRICS_FILE
    try:
        metrics = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise TrainingError(
            f"Boot file '{boot_file}' left no '{METRICS_FILE}' in --train_url. "
            'Let it write a JSON object there, like {"accuracy": 0.99}.'
        ) from error
    except ValueError as error:
        raise TrainingError(
            f"'{METRICS_FILE}' of boot file '{boot_file}' is not JSON: {error}. "
            'Let it write an object like {"accuracy": 0.99}.'
        ) from error
    numbers = isinstance(metrics, dict) and all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        for value in metrics.values()
    )
    if not numbers:
        raise TrainingError(
            f"'{METRICS_FILE}' of boot file '{boot_file}' is not a JSON object of names to finite "
            f'numbers: {str(metrics)[:200]!r}. Write one like {{"accuracy": 0.99}}.'
        )
    return {str(name): value for name, value in metrics.items()}
