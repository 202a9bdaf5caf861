"""What a job needs around Keras' own `fit`: scalars, and checkpoints to go on from."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.checkpoints import Checkpoints, state_of
from training.command_line import TrainingError
from training.folders import EVALUATION_FOLDER
from training.keras_workers import Workers
from training.quiet_tensorflow import tf
from training.summaries import ScalarWriter
from training.tf_config import Cluster


class JobCallback(tf.keras.callbacks.Callback):  # type: ignore[misc]
    """Writes event files while `fit` runs, and a checkpoint after each epoch.

    When made, it restores the newest checkpoint into the model and its optimizer; pass
    `first_epoch` to `fit` as `initial_epoch`. Scalars are those that `fit` reports (means since
    the beginning of the epoch), `learning_rate` and `global_step/sec`; those of the validation go
    to `evaluation/`.

    Args:
        output: the folder of `--train_url`.
        model: built and compiled.
        log_every: steps between scalars.
        parameters: what else decides the result; checkpoints of a run with others are refused.
        workers: those of `keras_workers.joined`, if there may be several. The first of them writes.

    Raises:
        TrainingError: `output` has checkpoints that don't fit, or there are several workers, and
            `fit` would train a model of its own on each.
    """

    def __init__(
        self,
        output: Path,
        model: Any,
        *,
        log_every: int = 100,
        parameters: Mapping[str, object] | None = None,
        workers: Workers | None = None,
    ) -> None:
        super().__init__()
        count = Cluster.of_environment().workers
        if count > 1 and workers is None:
            raise TrainingError(
                f"nodeCount is {count}, but 'model.fit' would train a model of its own on each "
                "worker. Use training.keras_workers, whose 'fit' shares each batch, or set "
                "nodeCount to 1."
            )
        model.optimizer.build(model.trainable_variables)
        self._workers = workers
        self._epochs = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._steps = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._output = output
        self._log_every = log_every
        self._checkpoints: Checkpoints | None = None
        if workers is None or workers.is_chief:
            self._checkpoints = Checkpoints(
                state_of(model, model.optimizer, epochs=self._epochs), output, parameters or {}
            )
            self._steps.assign(self._checkpoints.restore())
        if workers is not None:
            # The others have no checkpoints.
            state = [*model.variables, *model.optimizer.variables, self._epochs, self._steps]
            workers.copy_from_chief(state)
        self._done = int(self._steps)
        self.first_epoch = int(self._epochs)
        """How many epochs are done already."""

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self._writer: ScalarWriter | None = None
        self._evaluation: ScalarWriter | None = None
        if self._checkpoints is not None:
            self._writer = ScalarWriter(self._output)
            if self._done:
                print(f"Going on from the checkpoint of step {self._done}", flush=True)
                self._writer.resume(self._done)
        self._began, self._logged = time.perf_counter(), self._done

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self._done += 1
        if self._done % self._log_every == 0:
            self._log(logs or {})

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        measured = {
            name.removeprefix("val_"): float(value)
            for name, value in (logs or {}).items()
            if name.startswith("val_")
        }
        self._epochs.assign(epoch + 1)
        if self._checkpoints is None or self._writer is None:
            return
        if measured:
            if self._evaluation is None:
                self._evaluation = ScalarWriter(self._output / EVALUATION_FOLDER)
            self._evaluation.write(self._done, measured)
            self._evaluation.flush()
        # First: the scalars up to a checkpoint are kept with it.
        self._writer.flush()
        self._checkpoints.save(self._done)

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        for writer in (self._writer, self._evaluation):
            if writer is not None:
                writer.close()

    def _log(self, logs: Mapping[str, float]) -> None:
        now = time.perf_counter()
        speed = (self._done - self._logged) / (now - self._began)
        self._began, self._logged = now, self._done
        values = {name: float(value) for name, value in logs.items()}
        if self._workers is not None:
            values = self._workers.mean(values)
        if self._writer is None:
            return
        rate = float(tf.convert_to_tensor(self.model.optimizer.learning_rate))
        self._writer.write(self._done, {**values, "learning_rate": rate, "global_step/sec": speed})
