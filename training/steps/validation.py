"""Evaluation while a model trains: its scalars, the best weights so far, and when to stop."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from training.checkpoints import model_state
from training.command_line import TrainingError
from training.folders import CHECKPOINT_FOLDER, EVALUATION_FOLDER
from training.quiet_tensorflow import tf
from training.run_settings import RunSettings
from training.steps.distribution import Distribution
from training.summaries import ScalarWriter

_BEST = "best"
_NAME = "step"


class Validation:
    """Measures at its intervals. A context manager; the first worker alone measures and writes.

    Its decisions are a part of the checkpoint, so a run that goes on from one decides alike.

    Args:
        measure: metric name -> value of the weights as they are.
        folder: the run's.
    """

    def __init__(
        self,
        measure: Callable[[], Mapping[str, float]],
        module: Any,
        folder: Path,
        settings: RunSettings,
        distribution: Distribution,
    ) -> None:
        self._measure, self._settings, self._distribution = measure, settings, distribution
        self._folder = folder
        self._best_value = tf.Variable(math.nan, dtype=tf.float64, trainable=False)
        self._best_step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._worse = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._stopped = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._weights = model_state(module)
        self._manager: Any = None
        self._writer: ScalarWriter | None = None

    @property
    def variables(self) -> Sequence["tf.Variable"]:
        """What a checkpoint has to keep."""
        return [self._best_value, self._best_step, self._worse, self._stopped]

    @property
    def keeps_best(self) -> bool:
        """Whether the best weights are kept, and so a checkpoint goes with each evaluation."""
        return self._settings.best_metric is not None

    @property
    def best_step(self) -> int:
        """The step of the best weights; 0: none yet."""
        return int(self._best_step)

    @property
    def stopped(self) -> bool:
        """Whether the last evaluations were no better: no more steps."""
        return bool(int(self._stopped))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def begin(self, restored: int) -> None:
        """Go on after `restored` steps, with the variables of their checkpoint."""
        if not self._distribution.is_chief:
            return
        self._writer = ScalarWriter(self._folder / EVALUATION_FOLDER)
        if restored:
            self._writer.resume(restored)
        if self.keeps_best:
            # The one before stays until a checkpoint knows the new one.
            self._manager = tf.train.CheckpointManager(
                self._weights,
                str(self._folder / CHECKPOINT_FOLDER / _BEST),
                max_to_keep=2,
                checkpoint_name=_NAME,
            )

    def look(self, done: int) -> None:
        """Measure after `done` steps; all workers call it at the same ones."""
        if self._distribution.is_chief:
            found = self._measure()
            assert self._writer is not None
            self._writer.write(done, found)
            self._writer.flush()
            note = self._judge(done, found) if self.keeps_best else ""
            shown = "  ".join(f"{name} {value:.4f}" for name, value in found.items())
            print(f"evaluation at step {done}  {shown}{note}", flush=True)
        self._stopped.assign(self._distribution.chief_says(int(self._stopped)))

    def _judge(self, done: int, found: Mapping[str, float]) -> str:
        """Note what the metrics mean; return it in words."""
        name, patience = str(self._settings.best_metric), self._settings.patience
        if name not in found:
            raise TrainingError(
                f"The evaluation has no metric {name!r}, but {', '.join(found)}. "
                "Give one of them as --best_metric."
            )
        value, best = found[name], float(self._best_value)
        better = value < best if self._settings.lower_is_better else value > best
        if better or (math.isnan(best) and not math.isnan(value)):
            self._manager.save(checkpoint_number=done)
            self._best_value.assign(value)
            self._best_step.assign(done)
            self._worse.assign(0)
            return "  best so far"
        self._worse.assign_add(1)
        if patience is None or int(self._worse) < patience:
            return ""
        self._stopped.assign(1)
        return (
            f"\nStopping early: {name} has not been better than {best:.4f}, at step "
            f"{self.best_step}, in {patience} evaluations"
        )

    def restore_best(self, done: int) -> None:
        """Give the model its best weights, if these are not those of step `done`.

        Raises TrainingError when their checkpoint is gone or damaged.
        """
        if not self.best_step or self.best_step == done:
            return
        path = self._folder / CHECKPOINT_FOLDER / _BEST / f"{_NAME}-{self.best_step}"
        try:
            self._weights.restore(str(path)).assert_consumed()
        except (tf.errors.OpError, AssertionError, ValueError, IndexError) as error:
            raise TrainingError(
                f"The best weights, '{path}', can't be restored: "
                f"{str(error).strip().splitlines()[0]} Train anew, with another --train_url."
            ) from error
        print(f"Taking the weights of step {self.best_step}, the best", flush=True)
