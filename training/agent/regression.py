"""The bar that moves: not worse than the version that serves when the model is to be published.

What serves is in a folder that Kubernetes keeps up to date (docs/contracts.md), not in the command
line: so a roll-out replaces no Job.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.command_line import TrainingError
from training.metrics import METRICS_FILE

_ROUNDING = 1e-9
"""0.97 is not worse than 0.975 by more than 0.005, whatever binary fractions say."""


@dataclass(frozen=True)
class Served:
    """The version that serves."""

    version: int
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class Regression:
    """By how much a metric may be worse than that of the version that serves."""

    metric: str
    by: float
    less_is_better: bool

    @property
    def key(self) -> str:
        """As the stack's configuration has it."""
        return f"dlstack:maxRegression.{self.metric} {self.by:g}"

    def check(self, metrics: Mapping[str, float], served: Served, boot_file: str) -> str:
        """Return a line for the log.

        Raises:
            TrainingError: the metric is missing, or it is worse by more than is allowed.
        """
        if self.metric not in metrics:
            raise TrainingError(
                f"'{METRICS_FILE}' of boot file '{boot_file}' has no '{self.metric}', only "
                f"{sorted(metrics)}. Write it there, or leave out {self.key}."
            )
        name, version = self.metric.capitalize(), served.version
        before = served.metrics.get(self.metric)
        if not isinstance(before, int | float) or not math.isfinite(before):
            return f"Version {version}, which serves, has no '{self.metric}' to be compared with"
        found = metrics[self.metric]
        worse = found - before if self.less_is_better else before - found
        # Not the other way round: of what is no number it can't be said that it is good enough.
        if not worse <= self.by + _ROUNDING * max(1.0, abs(before)):
            raise TrainingError(
                f"{name} {found:.6g} is worse by {worse:.4g} than the {before:.6g} of version "
                f"{version}, which serves: {self.key} allows less, so the model is refused. "
                "Improve the training, or allow more."
            )
        return f"{name} {found:.6g}, beside {before:.6g} of version {version}, which serves"


def served_version(folder: Path, model_name: str) -> int | None:
    """Return the version of a model that serves.

    Args:
        folder: of the ConfigMap `served`; empty where nothing serves.
        model_name: of the model; a version of another one is no measure for it.
    """
    try:
        if (folder / "model").read_text() != model_name:
            return None
        return int((folder / "version").read_text())
    except FileNotFoundError:
        return None
