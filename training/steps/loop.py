"""The training loop: many steps in one graph call, then a log line, scalars, a checkpoint."""

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.checkpoints import Checkpoints
from training.command_line import TrainingError
from training.quiet_tensorflow import tf
from training.run_settings import RunSettings
from training.steps.distribution import Distribution
from training.steps.record import Record

_CALL_SECONDS = 0.2
"""Seconds that a call of the graph may last: its scalars are logged when it ends."""

Step = Callable[["tf.Tensor"], Mapping[str, "tf.Tensor"]]
"""Trains on batch number N (int64 scalar); returns name -> float32 scalar, one of them `loss`."""


@dataclass(frozen=True)
class Trained:
    """The outcome of a loop. `seconds` leaves out building the graph and saving checkpoints."""

    steps: int
    """From the beginning of the run."""
    restored_steps: int
    """How many of them an earlier attempt had done."""
    seconds: float

    @property
    def steps_per_second(self) -> float:
        """The speed of this attempt; 0 if it found all steps done."""
        return (self.steps - self.restored_steps) / self.seconds if self.seconds else 0.0


def train(
    step: Step,
    learning_rate: Callable[["tf.Tensor"], "tf.Tensor"],
    checkpoint: "tf.train.Checkpoint",
    variables: Sequence[Any],
    folder: Path,
    settings: RunSettings,
    distribution: Distribution,
) -> Trained:
    """Call `step` for batches 0 to max_steps - 1, leaving event files and checkpoints in `folder`.

    Goes on from the newest checkpoint that is there already. Of several workers, the first one
    alone reads and writes.

    Logged are the means of `step`'s scalars over `log_every` steps, the learning rate of the last
    of them, and `global_step/sec`, the speed of the graph call that they were a part of.

    Args:
        step: one step of the training.
        learning_rate: step number (int64 scalar) -> what the optimizer used in that step.
        checkpoint: what to save; the number of steps done is added to it.
        variables: all that it has, of TensorFlow or Keras.

    Raises:
        TrainingError: the loss is not finite any more, `folder` has checkpoints that don't
            fit, or another worker is gone.
    """
    global_step = tf.Variable(0, dtype=tf.int64, trainable=False, name="global_step")
    checkpoint.global_step = global_step
    checkpoints = None
    if distribution.is_chief:
        checkpoints = Checkpoints(checkpoint, folder, settings.parameters)
        checkpoints.restore()
    # The others may have seen another checkpoint, or none.
    distribution.copy_from_chief(
        [global_step, *(getattr(variable, "value", variable) for variable in variables)]
    )
    restored = int(global_step)
    graph = _Graph(step, learning_rate, global_step)
    with contextlib.ExitStack() as stack:
        record = None
        if checkpoints is not None:
            record = stack.enter_context(Record(folder, settings, checkpoints, restored))
        seconds = _run_to_the_end(graph, restored, settings, distribution.replicas, record)
    return Trained(max(restored, settings.max_steps), restored, seconds)


class _Graph:
    """Many steps in one call: each call costs some 0.5 ms, as much as several small steps."""

    def __init__(
        self,
        step: Step,
        learning_rate: Callable[["tf.Tensor"], "tf.Tensor"],
        global_step: "tf.Variable",
    ) -> None:
        # Traced before the loop, which has to know what it sums up before its first round.
        traced = tf.function(step).get_concrete_function(tf.TensorSpec([], tf.int64))
        names = list(traced.structured_outputs)
        number = tf.TensorSpec([], tf.int64)

        @tf.function(input_signature=[number, number])  # type: ignore[untyped-decorator]
        def run_steps(rounds: "tf.Tensor", count: "tf.Tensor") -> "tf.Tensor":
            rows = tf.TensorArray(
                tf.float32, tf.cast(rounds, tf.int32), element_shape=[len(names) + 1]
            )
            for row in tf.range(tf.cast(rounds, tf.int32)):
                sums = tf.zeros([len(names)])
                for _ in tf.range(count):
                    values = traced(global_step.read_value())
                    sums += tf.stack([values[name] for name in names])
                    global_step.assign_add(1)
                rate = tf.cast(learning_rate(global_step - 1), tf.float32)
                means = sums / tf.cast(count, tf.float32)
                rows = rows.write(row, tf.concat([means, [rate]], axis=0))
            return rows.stack()

        self._names = names
        self._run_steps = run_steps
        # No step: this builds and places the graph, and the training's time leaves that out.
        self.run(0, 0)

    def run(self, rounds: int, count: int) -> list[tuple[dict[str, float], float]]:
        """Do `rounds` times `count` steps.

        Returns:
            For each round the means of the steps' scalars, and the learning rate of its last step.
        """
        rows = self._run_steps(tf.constant(rounds, tf.int64), tf.constant(count, tf.int64))
        return [
            (dict(zip(self._names, means, strict=True)), rate)
            for *means, rate in rows.numpy().tolist()
        ]


def _run_to_the_end(
    graph: _Graph, done: int, settings: RunSettings, replicas: int, record: Record | None
) -> float:
    """Do the steps from `done` to max_steps; return the seconds that the graph took for them."""
    seconds, speed = 0.0, 0.0
    resumed = time.perf_counter()
    while done < settings.max_steps:
        count = min(settings.log_every, settings.max_steps - done)
        # Workers reduce what is of the same place in the same call: theirs have to be alike.
        fast = 1 if replicas > 1 else int(speed * _CALL_SECONDS / count)
        rounds = max(1, min(fast, _rounds_until_save(done, settings)))
        means = graph.run(rounds, count)
        now = time.perf_counter()
        seconds += now - resumed
        speed, resumed = rounds * count / (now - resumed), now
        for values, rate in means:
            done += count
            if not math.isfinite(values["loss"]):
                raise TrainingError(
                    f"The loss is {values['loss']} at step {done}. Try a lower --learning_rate."
                )
            if record is not None:
                record.add(done, values, rate, speed)
        if record is not None and _is_save_due(done, count, settings):
            record.save(done)
            resumed = time.perf_counter()
    return seconds


def _is_save_due(done: int, count: int, settings: RunSettings) -> bool:
    """Whether the last `count` steps reached a multiple of `checkpoint_every`, or the end."""
    return done == settings.max_steps or done % settings.checkpoint_every < count


def _rounds_until_save(done: int, settings: RunSettings) -> int:
    """Return after how many rounds of `log_every` steps one is due; at the end, whole rounds."""
    to_multiple = settings.checkpoint_every - done % settings.checkpoint_every
    until_end = (settings.max_steps - done) // settings.log_every
    return min(math.ceil(to_multiple / settings.log_every), until_end)
