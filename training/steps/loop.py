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
from training.steps.inputs import Inputs
from training.steps.record import Record
from training.steps.validation import Validation

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
    inputs: Inputs,
    validation: Validation | None = None,
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
        inputs: what `step` draws from; its position is added to the checkpoint.
        validation: what measures in between, and may end the training early.

    Raises:
        TrainingError: the loss is not finite any more, `folder` has checkpoints that don't
            fit, the data set has a fault, or another worker is gone.
    """
    with tf.device("CPU"):
        global_step = tf.Variable(0, dtype=tf.int64, trainable=False, name="global_step")
    checkpoint.global_step = global_step
    positions = _Positions(inputs, distribution)
    if inputs.has_position:
        checkpoint.input_positions = positions.variable
    if validation is not None:
        checkpoint.validation = list(validation.variables)
        variables = [*variables, *validation.variables]
    checkpoints = None
    if distribution.is_chief:
        checkpoints = Checkpoints(checkpoint, folder, settings.parameters)
        checkpoints.restore()
    # The others may have seen another checkpoint, or none.
    distribution.copy_from_chief([global_step, *variables])
    restored = int(global_step)
    positions.restore(restored)
    graph = _Graph(step, learning_rate, global_step)
    with contextlib.ExitStack() as stack:
        record = None
        if validation is not None:
            stack.enter_context(validation).begin(restored)
        if checkpoints is not None:
            record = stack.enter_context(Record(folder, settings, checkpoints, restored))
        course = _Course(graph, settings, distribution.replicas, record, positions, validation)
        done, seconds = course.run(restored)
    return Trained(done, restored, seconds)


class _Positions:
    """Where each worker's next batch begins; the first worker's checkpoint has all of them."""

    def __init__(self, inputs: Inputs, distribution: Distribution) -> None:
        self._inputs, self._distribution = inputs, distribution
        self.variable = tf.Variable(
            [""], dtype=tf.string, trainable=False, shape=tf.TensorShape([None])
        )

    def restore(self, done: int) -> None:
        """Go to the batch after `done`, as the first worker's variable says."""
        workers = self._distribution.workers
        texts = [b""] * workers
        if self._inputs.has_position:
            known: list[bytes] = self.variable.numpy().tolist()
            if done and self._distribution.is_chief:
                if len(known) != workers:
                    raise TrainingError(
                        f"The checkpoint is of {len(known)} workers, and these are {workers}. "
                        "Give another --train_url, or as many workers."
                    )
                texts = known
            texts = self._distribution.exchange(texts)
        self._inputs.begin(done, texts[self._distribution.index])

    def note(self) -> None:
        """Set the first worker's variable; all workers call it at the same step."""
        if not self._inputs.has_position:
            return
        texts = [b""] * self._distribution.workers
        texts[self._distribution.index] = self._inputs.position()
        self.variable.assign(self._distribution.exchange(texts))


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
        # What counts stays with the processor, as 32 bits always do: on a GPU, each turn of a loop
        # would wait until all steps before it are done.
        number = tf.TensorSpec([], tf.int32)

        @tf.function(input_signature=[number, number])  # type: ignore[untyped-decorator]
        def run_steps(rounds: "tf.Tensor", count: "tf.Tensor") -> "tf.Tensor":
            rows = tf.TensorArray(tf.float32, rounds, element_shape=[len(names) + 1])
            for row in tf.range(rounds):
                sums = tf.zeros([len(names)])
                for _ in tf.range(count):
                    with tf.device("CPU"):
                        done = global_step.read_value()
                    values = traced(done)
                    sums += tf.stack([values[name] for name in names])
                    with tf.device("CPU"):
                        global_step.assign_add(1)
                with tf.device("CPU"):
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
        rows = self._run_steps(tf.constant(rounds, tf.int32), tf.constant(count, tf.int32))
        return [
            (dict(zip(self._names, means, strict=True)), rate)
            for *means, rate in rows.numpy().tolist()
        ]


@dataclass
class _Course:
    """The way from a checkpoint to the end."""

    graph: _Graph
    settings: RunSettings
    replicas: int
    record: Record | None
    positions: _Positions
    validation: Validation | None

    def run(self, done: int) -> tuple[int, float]:
        """Do the steps from `done` on; return all steps done, and the seconds in the graph."""
        settings, seconds, speed = self.settings, 0.0, 0.0
        resumed = time.perf_counter()
        while done < settings.max_steps and not self._is_stopped():
            count = min(settings.log_every, settings.max_steps - done)
            # Workers reduce what is of the same place in the same call: theirs have to be alike.
            fast = 1 if self.replicas > 1 else int(speed * _CALL_SECONDS / count)
            rounds = max(1, min(fast, self._rounds_until_due(done)))
            means = self.graph.run(rounds, count)
            now = time.perf_counter()
            seconds += now - resumed
            speed, resumed = rounds * count / (now - resumed), now
            for values, rate in means:
                done += count
                if not math.isfinite(values["loss"]):
                    raise TrainingError(
                        f"The loss is {values['loss']} at step {done}. Try a lower --learning_rate."
                    )
                if self.record is not None:
                    self.record.add(done, values, rate, speed)
            if self._look_and_save(done, count):
                resumed = time.perf_counter()
        return done, seconds

    def _is_stopped(self) -> bool:
        return self.validation is not None and self.validation.stopped

    def _look_and_save(self, done: int, count: int) -> bool:
        """Evaluate and save if the last `count` steps made them due; return whether they did."""
        due = [self._is_due(every, done, count) for every in self._intervals()]
        save = due[0]
        if self.validation is not None and due[1]:
            self.validation.look(done)
            save = save or self.validation.keeps_best
        if save:
            self.positions.note()
            if self.record is not None:
                self.record.save(done)
        return any(due)

    def _intervals(self) -> list[int]:
        every = [self.settings.checkpoint_every]
        if self.validation is not None and self.settings.evaluate_every is not None:
            every.append(self.settings.evaluate_every)
        return every

    def _is_due(self, every: int, done: int, count: int) -> bool:
        """Whether the last `count` steps reached a multiple of `every`, or the end."""
        return done == self.settings.max_steps or done % every < count

    def _rounds_until_due(self, done: int) -> int:
        """Return after how many rounds of `log_every` steps one is due; at the end, whole rounds.

        An interval may be due between two rounds: the next one counts.
        """
        log_every = self.settings.log_every
        to_multiple = min(every - done % every for every in self._intervals())
        until_end = (self.settings.max_steps - done) // log_every
        return min(math.ceil(to_multiple / log_every), until_end)
