"""The flags that every boot file has, and the settings they make. Loads no TensorFlow."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from training.command_line import ArgumentParser, positive_float, positive_int, true_or_false

PRECISIONS = ("bfloat16", "float16")
"""Computations in 16 bits, weights and loss in 32. float16 is for GPUs without bfloat16."""
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
    add("--mixed_precision", choices=PRECISIONS, help="type of Keras layers' computations")
    add("--xla", type=true_or_false, default=False, help="'true': compile the steps by XLA")
    return parser


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
    parameters: Mapping[str, object]
    """Flag -> value of all that decides the result; a run with others is another run."""

    @classmethod
    def of(cls, options: argparse.Namespace, defaults: RunDefaults, examples: int) -> Self:
        """Combine parsed flags and defaults; `examples` is the size of the training set."""
        batch_size = options.batch_size or defaults.batch_size
        epochs = options.epochs or defaults.epochs
        steps = max(1, int(epochs * examples) // batch_size) if epochs else defaults.max_steps
        return cls(
            learning_rate=options.learning_rate or defaults.learning_rate,
            batch_size=batch_size,
            max_steps=options.max_steps or steps,
            log_every=options.log_every or defaults.log_every,
            checkpoint_every=options.checkpoint_every or defaults.checkpoint_every,
            seed=options.seed,
            threads=defaults.threads,
            mixed_precision=options.mixed_precision,
            xla=options.xla,
            parameters={name: value for name, value in vars(options).items() if name not in _URLS},
        )
