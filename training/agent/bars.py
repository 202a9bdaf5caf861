"""The bars that a model's metrics have to pass before it is published."""

from collections.abc import Mapping
from dataclasses import dataclass

from training.command_line import TrainingError
from training.metrics import METRICS_FILE


@dataclass(frozen=True)
class Bar:
    """What a metric has to reach, or not to exceed, for the model to be published."""

    metric: str
    value: float
    key: str
    """As the stack's configuration has it: `dlstack:minAccuracy 0.9`."""
    highest: bool = False
    """Whether `value` is the highest that is allowed rather than the lowest."""

    def check(self, metrics: Mapping[str, float], boot_file: str) -> None:
        """Raise TrainingError when the metric is missing or misses the bar."""
        if self.metric not in metrics:
            raise TrainingError(
                f"'{METRICS_FILE}' of boot file '{boot_file}' has no '{self.metric}', only "
                f"{sorted(metrics)}. Write it there, or leave out {self.key}."
            )
        found = metrics[self.metric]
        if found > self.value if self.highest else found < self.value:
            raise TrainingError(
                f"{self.metric.capitalize()} {found:.4f} is {'above' if self.highest else 'below'} "
                f"{self.key}, so the model is refused. Improve the training, or ask for less."
            )
