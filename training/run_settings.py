"""The flags that every boot file has, and the settings they make. Loads no TensorFlow."""

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from training.command_line import (
    ArgumentParser,
    TrainingError,
    positive_float,
    positive_int,
    true_or_false,
)
from training.metrics import less_is_better

PRECISIONS = ("bfloat16", "float16")
"""Computations in 16 bits, weights and loss in 32. float16 is for GPUs without bfloat16."""
CONSTANT, COSINE = "constant", "cosine"
"""How the learning rate changes: see `training.schedules`."""
_EPOCHS = re.compile(r"(\d+(?:\.\d+)?|\.\d+) ?epochs?").fullmatch
_URLS = ("data_url", "train_url")


def run_parser(prog: str, description: str | None) -> ArgumentParser:
    """Return a parser of the flags that `RunSettings.of` reads; a boot file adds its own."""
    parser = ArgumentParser(prog=prog, description=description)
    add = parser.add_argument
    add("--data_url", required=True, help="folder or s3:// URL of the data set")
    add("--train_url", required=True, help="folder or s3:// URL for all that the training writes")
    add("--epochs", type=positive_float, help="passes over the data; default: the model's")
    add("--max_steps", type=positive_int, help="steps, whatever --epochs says")
    add("--batch_size", type=positive_int, help="examples in a step; default: the model's")
    add("--learning_rate", type=positive_float, help="its highest value; default: the model's")
    add("--seed", type=int, default=0, help="of the first weights and the order of the examples")
    add("--log_every", type=positive_int, help="steps between scalars; default: the model's")
    add("--checkpoint_every", type=positive_int, help="in steps; default: the model's")
    add("--steps_per_epoch", type=positive_int, help="default: as many as the examples fill")
    add("--schedule", choices=(CONSTANT, COSINE), help="of the learning rate; default: the model's")
    add("--warmup", type=share, help="of the steps, in which the learning rate rises first")
    add("--evaluate_every", type=interval, help="steps between evaluations, or '0.5epochs'")
    add("--best_metric", help="of the evaluation; the weights that were best by it are exported")
    add("--best_is", choices=("highest", "lowest"), help="of --best_metric; default: by its name")
    add("--patience", type=positive_int, help="stop after so many evaluations without a better one")
    add("--mixed_precision", choices=PRECISIONS, help="type of Keras layers' computations")
    add("--xla", type=true_or_false, default=False, help="'true': compile the steps by XLA")
    return parser


def share(text: str) -> float:
    """Parse a flag's value that must be from 0 to below 1."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not from 0 to below 1")
    return value


def interval(text: str) -> str:
    """Check a flag's value that must be a number of steps, or of epochs."""
    if not re.fullmatch(r"[1-9]\d*", text) and not _EPOCHS(text):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of steps nor '2epochs'")
    return text


@dataclass(frozen=True, kw_only=True)
class RunDefaults:
    """A model's settings, which flags override."""

    learning_rate: float
    batch_size: int
    epochs: float | None = None
    """Passes over the data; None: `max_steps` says how long to train."""
    max_steps: int = 1000
    log_every: int = 100
    checkpoint_every: int = 1000
    threads: int = 0
    """Of one operation; 0: all. Handing a step of 0.1 ms to another thread takes longer than it."""
    schedule: str = CONSTANT
    warmup: float = 0.0
    evaluate_every: int | str | None = None
    """Steps, or a text such as `1epoch`; None: at the end only."""
    best_metric: str | None = None
    """Of the evaluation; None: the last weights are exported, not the best."""
    patience: int | None = None


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How `training.trainer.run` trains. Intervals are in steps."""

    learning_rate: float
    batch_size: int
    """Examples in a step, of all workers together."""
    max_steps: int
    log_every: int
    checkpoint_every: int
    seed: int
    threads: int
    mixed_precision: str | None
    """One of PRECISIONS; None: float32 throughout."""
    xla: bool
    schedule: str
    warmup: float
    evaluate_every: int | None
    """None: at the end only."""
    best_metric: str | None
    """What the exported weights are the best by; None: the last ones are exported."""
    lower_is_better: bool
    patience: int | None
    """How many evaluations without a better one end the training; None: none do."""
    parameters: Mapping[str, object]
    """Flag -> value of all that decides the result; a run with others is another run."""

    @classmethod
    def of(
        cls, options: argparse.Namespace, defaults: RunDefaults, examples: int | None = None
    ) -> Self:
        """Combine parsed flags and defaults.

        Args:
            examples: the size of the training set; None: unknown.

        Raises:
            TrainingError: epochs can't be counted in steps, or nobody knows which of the values of
                `--best_metric` is the best.
        """
        batch_size = options.batch_size or defaults.batch_size

        def steps_of(epochs: float, flag: str) -> int:
            if options.steps_per_epoch:
                return max(1, int(epochs * options.steps_per_epoch))
            if examples is None:
                raise TrainingError(
                    f"{flag} can't be counted in steps: how many examples there are is not known. "
                    "Give --steps_per_epoch."
                )
            return max(1, int(epochs * examples) // batch_size)

        epochs = options.epochs or defaults.epochs
        if options.max_steps or not epochs:
            max_steps = options.max_steps or defaults.max_steps
        else:
            max_steps = steps_of(epochs, "--epochs")
        patience = options.patience or defaults.patience
        best_metric = options.best_metric or defaults.best_metric
        if patience is not None and best_metric is None:
            best_metric = "loss"
        every = options.evaluate_every or defaults.evaluate_every
        if every is None and best_metric is not None:
            every = "1epoch"
        if every is not None:
            in_epochs = _EPOCHS(str(every))
            every = steps_of(float(in_epochs[1]), "--evaluate_every") if in_epochs else int(every)
        return cls(
            learning_rate=options.learning_rate or defaults.learning_rate,
            batch_size=batch_size,
            max_steps=max_steps,
            log_every=options.log_every or defaults.log_every,
            checkpoint_every=options.checkpoint_every or defaults.checkpoint_every,
            seed=options.seed,
            threads=defaults.threads,
            mixed_precision=options.mixed_precision,
            xla=options.xla,
            schedule=options.schedule or defaults.schedule,
            warmup=defaults.warmup if options.warmup is None else options.warmup,
            evaluate_every=every,
            best_metric=best_metric,
            lower_is_better=_lower_is_better(best_metric, options.best_is),
            patience=patience,
            parameters={name: value for name, value in vars(options).items() if name not in _URLS},
        )


def _lower_is_better(metric: str | None, best_is: str | None) -> bool:
    if metric is None or best_is is not None:
        return best_is == "lowest"
    lower = less_is_better(metric)
    if lower is None:
        raise TrainingError(
            f"Whether the best {metric!r} is the highest or the lowest can't be told by its name. "
            "Give --best_is=highest or --best_is=lowest."
        )
    return lower
