"""Checkpoints of a training run: restored at its start, the newest few kept."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.command_line import TrainingError
from training.folders import CHECKPOINT_FOLDER
from training.quiet_tensorflow import tf

KEPT = 3
_NAME = "step"
_PARAMETERS_FILE = "parameters.json"


class Checkpoints:
    """Saves and restores what `checkpoint` tracks, by the number of steps done.

    Args:
        checkpoint: what to save. All its variables exist already, so that a restore is complete.
        folder: the run's folder; the files lie in `checkpoints/` there.
        parameters: what else decides the result. A run with others must not go on from here.

    Raises:
        TrainingError: `folder` has checkpoints of a run with other parameters.
    """

    def __init__(
        self, checkpoint: "tf.train.Checkpoint", folder: Path, parameters: Mapping[str, object]
    ) -> None:
        self._folder = folder / CHECKPOINT_FOLDER
        self._checkpoint = checkpoint
        self._manager = tf.train.CheckpointManager(
            checkpoint, str(self._folder), max_to_keep=KEPT, checkpoint_name=_NAME
        )
        self._parameters = {name: str(value) for name, value in sorted(parameters.items())}
        if self._manager.latest_checkpoint:
            self._check_parameters()
        else:
            self._write_parameters()

    def restore(self) -> int:
        """Restore the newest checkpoint; return how many steps were done by then, or 0.

        Raises TrainingError when it is damaged, or the model has changed since.
        """
        latest = self._manager.latest_checkpoint
        if latest is None:
            return 0
        try:
            self._checkpoint.restore(latest).assert_consumed()
        except (tf.errors.OpError, AssertionError, ValueError, IndexError) as error:
            reason = str(error).strip().splitlines()[0]
            raise TrainingError(
                f"The checkpoint '{latest}' can't be restored: {reason} "
                "Delete it to begin anew, or give another --train_url."
            ) from error
        self._delete_leftovers()
        return int(latest.rsplit("-", 1)[1])

    def save(self, done: int) -> None:
        """Save after `done` steps, and delete the oldest beyond those that are kept."""
        self._manager.save(checkpoint_number=done)

    def _delete_leftovers(self) -> None:
        """Delete files of an interrupted save or deletion, which the manager doesn't know."""
        known = {Path(path).name for path in self._manager.checkpoints}
        for file in self._folder.glob(f"{_NAME}-*"):
            if file.name.partition(".")[0] not in known:
                file.unlink(missing_ok=True)

    def _check_parameters(self) -> None:
        file = self._folder / _PARAMETERS_FILE
        try:
            found = json.loads(file.read_bytes())
        except (OSError, ValueError):
            found = {}
        differing = [
            f"--{name}={found.get(name)}"
            for name in sorted(found.keys() | self._parameters.keys())
            if found.get(name) != self._parameters.get(name)
        ]
        if differing:
            raise TrainingError(
                f"'{self._folder}' has checkpoints of a run with {' '.join(differing)}. "
                "Give another --train_url, or delete them."
            )

    def _write_parameters(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / f".{_PARAMETERS_FILE}.part"
        temporary.write_text(json.dumps(self._parameters, indent=2) + "\n", encoding="utf-8")
        os.replace(temporary, self._folder / _PARAMETERS_FILE)


def state_of(module: Any, optimizer: Any, **more: Any) -> "tf.train.Checkpoint":
    """Return what to save of a training, so that it goes on as if it had never stopped.

    Args:
        module: a Keras model or a tf.Module.
        more: further objects with variables.
    """
    return model_state(module, optimizer=optimizer, **more)


def model_state(module: Any, **more: Any) -> "tf.train.Checkpoint":
    """Return what to save of a model.

    Keras 3 hides the random state of layers like Dropout from TensorFlow: without it, a resumed
    run would drop other units than an undisturbed one.
    """
    hidden = []
    if isinstance(module, tf.keras.Model):
        weights = {id(weight) for weight in module.weights}
        hidden = [variable.value for variable in module.variables if id(variable) not in weights]
    return tf.train.Checkpoint(model=module, hidden=hidden, **more)
