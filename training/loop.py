"""The training loop: many steps in one graph call, then a log line, scalars, a checkpoint."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from training.checkpoints import Checkpoints
from training.command_line import TrainingError
from training.quiet_tensorflow import tf
from training.run_settings import RunSettings
from training.summaries import ScalarWriter

_FLUSH_SECONDS = 1.0
_PRINT_SECONDS = 0.5

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
    folder: Path,
    settings: RunSettings,
) -> Trained:
    """Call `step` for batches 0 to max_steps - 1, leaving event files and checkpoints in `folder`.

    Goes on from the newest checkpoint that is there already.

    Logged are the means of `step`'s scalars over `log_every` steps, the learning rate of the last
    of them, and `global_step/sec`.

    Args:
        step: one step of the training.
        learning_rate: step number (int64 scalar) -> what the optimizer used in that step.
        checkpoint: what to save; the number of steps done is added to it.

    Raises:
        TrainingError: the loss is no finite number any more, or `folder` has checkpoints that
            don't fit.
    """
    global_step = tf.Variable(0, dtype=tf.int64, trainable=False, name="global_step")
    checkpoint.global_step = global_step
    checkpoints = Checkpoints(checkpoint, folder, settings.parameters)
    restored = done = checkpoints.restore()

    # Traced before the loop, which has to know what it sums up before its first round.
    traced = tf.function(step).get_concrete_function(tf.TensorSpec([], tf.int64))

    # Several steps in one call: calling a graph from Python takes longer than a small step.
    @tf.function(input_signature=[tf.TensorSpec([], tf.int64)])  # type: ignore[untyped-decorator]
    def run_steps(count: "tf.Tensor") -> "tuple[dict[str, tf.Tensor], tf.Tensor]":
        sums = {name: tf.zeros([]) for name in traced.structured_outputs}
        for _ in tf.range(count):
            values = traced(global_step.read_value())
            sums = {name: total + values[name] for name, total in sums.items()}
            global_step.assign_add(1)
        means = {name: total / tf.cast(count, tf.float32) for name, total in sums.items()}
        return means, learning_rate(global_step - 1)

    # Without a step: builds and places the graph, so that the time below is the training's.
    run_steps(tf.constant(0, tf.int64))

    seconds = 0.0
    resumed = last_print = last_flush = time.perf_counter()
    with ScalarWriter(folder) as writer:
        if restored:
            print(f"Going on from the checkpoint of step {restored}", flush=True)
            writer.resume(restored)
        while done < settings.max_steps:
            count = min(settings.log_every, settings.max_steps - done)
            means, rate = run_steps(tf.constant(count, tf.int64))
            values = {name: float(value) for name, value in means.items()}
            done += count
            now = time.perf_counter()
            seconds += now - resumed
            speed, resumed = count / (now - resumed), now
            if not abs(values["loss"]) < float("inf"):
                raise TrainingError(
                    f"The loss is {values['loss']} at step {done}. Try a lower --learning_rate."
                )
            writer.write(done, {**values, "learning_rate": float(rate), "global_step/sec": speed})
            if now - last_flush >= _FLUSH_SECONDS:
                writer.flush()
                last_flush = now
            # A fast model logs hundreds of times a second: too much to read.
            if (
                done == restored + count
                or done == settings.max_steps
                or now - last_print >= _PRINT_SECONDS
            ):
                shown = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
                print(f"step {done}/{settings.max_steps}  {shown}  {speed:.0f} steps/s", flush=True)
                last_print = now
            if done == settings.max_steps or done % settings.checkpoint_every < count:
                # First: the scalars up to a checkpoint are kept with it.
                writer.flush()
                checkpoints.save(done)
                resumed = time.perf_counter()
    return Trained(done, restored, seconds)
