"""The training loop: many steps in one graph call, then a log line, scalars, a checkpoint."""

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from training.checkpoints import Checkpoints
from training.command_line import TrainingError
from training.quiet_tensorflow import tf
from training.run_settings import RunSettings
from training.steps.distribution import Distribution
from training.summaries import ScalarWriter

_FLUSH_SECONDS = 1.0
_PRINT_SECONDS = 0.5
# How long a graph call may last. Each costs some 0.5 ms, as much as several small steps; what is
# logged in it is seen when it ends.
_CALL_SECONDS = 0.2

Step = Callable[["tf.Tensor"], Mapping[str, "tf.Tensor"]]
"""Trains on batch number N (int64 scalar); returns name -> float32 scalar, one of them `loss`."""


@dataclass(frozen=True)
class Trained:
    """What a loop did. `seconds` leaves out building the graph and saving checkpoints."""

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
    restored = done = int(global_step)

    # Traced before the loop, which has to know what it sums up before its first round.
    traced = tf.function(step).get_concrete_function(tf.TensorSpec([], tf.int64))
    names = list(traced.structured_outputs)
    number = tf.TensorSpec([], tf.int64)

    @tf.function(input_signature=[number, number])  # type: ignore[untyped-decorator]
    def run_steps(rounds: "tf.Tensor", count: "tf.Tensor") -> "tf.Tensor":
        """Do `rounds` times `count` steps; return for each round its means and learning rate."""
        rows = tf.TensorArray(tf.float32, tf.cast(rounds, tf.int32), element_shape=[len(names) + 1])
        for row in tf.range(tf.cast(rounds, tf.int32)):
            sums = tf.zeros([len(names)])
            for _ in tf.range(count):
                values = traced(global_step.read_value())
                sums += tf.stack([values[name] for name in names])
                global_step.assign_add(1)
            rate = tf.cast(learning_rate(global_step - 1), tf.float32)
            rows = rows.write(row, tf.concat([sums / tf.cast(count, tf.float32), [rate]], axis=0))
        return rows.stack()

    # Without a step: builds and places the graph, so that the time below is the training's.
    run_steps(tf.constant(0, tf.int64), tf.constant(0, tf.int64))

    seconds, speed = 0.0, 0.0
    with contextlib.ExitStack() as stack:
        record = None
        if checkpoints is not None:
            record = stack.enter_context(_Record(folder, settings, checkpoints, done))
        resumed = time.perf_counter()
        while done < settings.max_steps:
            count = min(settings.log_every, settings.max_steps - done)
            # Workers reduce what is of the same place in the same call: theirs have to be alike.
            fast = 1 if distribution.replicas > 1 else int(speed * _CALL_SECONDS / count)
            rounds = max(1, min(fast, _rounds_until_save(done, settings)))
            rows = run_steps(tf.constant(rounds, tf.int64), tf.constant(count, tf.int64)).numpy()
            now = time.perf_counter()
            seconds += now - resumed
            speed, resumed = rounds * count / (now - resumed), now
            for *means, rate in rows.tolist():
                values = dict(zip(names, means, strict=True))
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
    return Trained(done, restored, seconds)


def _is_save_due(done: int, count: int, settings: RunSettings) -> bool:
    """Whether the last `count` steps reached a multiple of `checkpoint_every`, or the end."""
    return done == settings.max_steps or done % settings.checkpoint_every < count


def _rounds_until_save(done: int, settings: RunSettings) -> int:
    """Return after how many rounds of `log_every` steps one is due; at the end, whole rounds."""
    to_multiple = settings.checkpoint_every - done % settings.checkpoint_every
    until_end = (settings.max_steps - done) // settings.log_every
    return min(math.ceil(to_multiple / settings.log_every), until_end)


class _Record:
    """What a run leaves of its way: scalars, log lines and checkpoints. A context manager."""

    def __init__(
        self, folder: Path, settings: RunSettings, checkpoints: Checkpoints, restored: int
    ) -> None:
        self._writer = ScalarWriter(folder)
        self._max_steps = settings.max_steps
        self._checkpoints = checkpoints
        self._last_flush = time.perf_counter()
        # The first line is shown at once.
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
