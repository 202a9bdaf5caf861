"""Scalars, log lines and checkpoints of a run while it trains."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from training.checkpoints import Checkpoints
from training.run_settings import RunSettings
from training.summaries import ScalarWriter

_FLUSH_SECONDS = 1.0
_PRINT_SECONDS = 0.5


class Record:
    """Writes scalars, prints log lines and saves checkpoints. A context manager.

    Args:
        folder: the run's.
        restored: how many steps an earlier attempt had done.
    """

    def __init__(
        self, folder: Path, settings: RunSettings, checkpoints: Checkpoints, restored: int
    ) -> None:
        self._writer = ScalarWriter(folder)
        self._max_steps = settings.max_steps
        self._checkpoints = checkpoints
        self._last_flush = time.perf_counter()
        # So that the first line is shown.
        self._last_print = float("-inf")
        if restored:
            print(f"Going on from the checkpoint of step {restored}", flush=True)
            self._writer.resume(restored)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def add(self, done: int, values: Mapping[str, float], rate: float, speed: float) -> None:
        """Log the means over the last steps, after `done` of them."""
        self._writer.write(done, {**values, "learning_rate": rate, "global_step/sec": speed})
        now = time.perf_counter()
        if now - self._last_flush >= _FLUSH_SECONDS:
            self._writer.flush()
            self._last_flush = now
        # A fast model logs hundreds of times a second: too much to read.
        if done == self._max_steps or now - self._last_print >= _PRINT_SECONDS:
            shown = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
            print(f"step {done}/{self._max_steps}  {shown}  {speed:.0f} steps/s", flush=True)
            self._last_print = now

    def save(self, done: int) -> None:
        """Save a checkpoint; the scalars up to it are visible by then, and so kept with it."""
        self._writer.flush()
        self._checkpoints.save(done)
