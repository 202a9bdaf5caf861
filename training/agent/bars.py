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
    flag: str
    """As it was given: `--min_accuracy=0.9`, `--max_metric=loss:0.3`."""
    highest: bool = False
    """Whether `value` is the highest that is allowed rather than the lowest."""

    def check(self, metrics: Mapping[str, float], boot_file: str) -> None:
        """Raise TrainingError when the metric is missing or misses the bar."""
        if self.metric not in metrics:
            raise TrainingError(
                f"'{METRICS_FILE}' of boot file '{boot_file}' has no '{self.metric}', only "
                f"{sorted(metrics)}. Write it there, or leave out {self.flag}."
            )
        found = metrics[self.metric]
        if found > self.value if self.highest else found < self.value:
            raise TrainingError(
                f"{self.metric.capitalize()} {found:.4f} is {'above' if self.highest else 'below'} "
                f"{self.flag}, so the model is refused. Improve the training, or ask for less."
            )
