"""`run`: train a model, evaluate it and export it, with all that a job needs around that."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.about import check_about
from training.checkpoints import state_of
from training.export import export_model
from training.metrics import write_metrics
from training.quiet_tensorflow import tf
from training.run_settings import RunSettings
from training.steps.distribution import Distribution
from training.steps.loop import Step, Trained, train
from training.summaries import ScalarWriter

Batches = Callable[["tf.Tensor", "tf.Tensor | int", int], "Sequence[tf.Tensor]"]
"""Batch number (int64 scalar, from 0), which share of it (from 0), how many equal shares -> the
tensors of that share. It runs in the training graph, and the same numbers always give the same
examples: that is what a resumed run relies on."""

LearningRate = float | Callable[["tf.Tensor"], "tf.Tensor"]
"""A number, or step number (from 0) -> number: a Keras schedule, say."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """What is trained and served."""

    module: Any
    """A Keras model that is built, or a tf.Module. Holds all variables that the rest uses; those in
    `trainable_variables` are trained."""
    loss_fn: Callable[..., Mapping[str, "tf.Tensor"]]
    """The tensors of a batch, and `training` (bool) by name -> name -> mean over the batch (float32
    scalar). `loss` is minimised; all of them are logged."""
    signatures: Mapping[str, Any]
    """Name -> tf.function with an input signature that returns name -> tensor."""
    about: Mapping[str, Any] | None = None
    """Title, meaning of inputs and names of classes, for people: see `training.export`."""


def run(
    *,
    input_fn: Callable[[], Batches],
    model_fn: Callable[[], Model],
    optimizer_fn: Callable[[LearningRate], Any],
    evaluate_fn: Callable[[Model], Mapping[str, float]],
    output: Path,
    settings: RunSettings,
    learning_rate: LearningRate | None = None,
) -> dict[str, float]:
    """Train as `settings` say, leaving in `output` all that a boot file has to leave there.

    That is event files, checkpoints, `evaluation/`, `model/` and `metrics.json`. It goes on from
    the newest checkpoint that is in `output` already. With several workers (TF_CONFIG) or GPUs
    each takes its share of every batch, and only the first worker writes. The functions are called
    once each; nothing of TensorFlow may be created before that.

    Args:
        input_fn: makes the batches.
        model_fn: makes the model; the random state is seeded.
        optimizer_fn: the learning rate -> a Keras optimizer.
        evaluate_fn: measures the trained model; see `training.evaluation.evaluate`.
        learning_rate: default: the constant one of `settings`.

    Returns:
        What `evaluate_fn` found, and steps, seconds and speed; nothing for the other workers.

    Raises:
        TrainingError: the loss is not finite, `output` has checkpoints of another run, a
            batch can't be shared equally, another worker is gone, or the model's `about` has a
            fault.
    """
    tf.config.threading.set_intra_op_parallelism_threads(settings.threads)
    tf.config.threading.set_inter_op_parallelism_threads(settings.threads)
    distribution = Distribution()
    distribution.check_batch_size(settings.batch_size)
    tf.keras.utils.set_random_seed(settings.seed)
    if settings.mixed_precision is not None:
        tf.keras.mixed_precision.set_global_policy(f"mixed_{settings.mixed_precision}")
    model = model_fn()
    if model.about is not None:
        # Now: a misspelt name would be found after the training only.
        check_about(model.about, model.signatures)
    batches = input_fn()
    rate = settings.learning_rate if learning_rate is None else learning_rate
    optimizer = _built(optimizer_fn(rate), model, settings)
    _announce(model, settings, distribution.replicas)
    with distribution.explained():
        trained = train(
            _step_of(model, batches, optimizer, distribution, xla=settings.xla),
            rate if callable(rate) else lambda _: tf.constant(rate),
            state_of(model.module, optimizer),
            [*model.module.variables, *optimizer.variables],
            output,
            settings,
            distribution,
        )
        metrics = {}
        if distribution.is_chief:
            metrics = _measure_and_export(model, evaluate_fn, trained, output)
        distribution.await_all()
    return metrics


def _built(optimizer: Any, model: Model, settings: RunSettings) -> Any:
    """Return the optimizer with its variables."""
    if settings.mixed_precision == "float16":
        # Small gradients would be 0 in it.
        optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
    optimizer.build(model.module.trainable_variables)
    return optimizer


def _announce(model: Model, settings: RunSettings, replicas: int) -> None:
    size = sum(math.prod(variable.shape) for variable in model.module.trainable_variables)
    print(
        f"Training {size} parameters for {settings.max_steps} steps of {settings.batch_size}"
        + (f", shared by {replicas} replicas" if replicas > 1 else ""),
        flush=True,
    )


def _step_of(
    model: Model, batches: Batches, optimizer: Any, distribution: Distribution, *, xla: bool
) -> Step:
    """Return one step of the training: gradients of each replica's share, their mean applied."""
    variables = model.module.trainable_variables

    def gradients(batch: "Sequence[tf.Tensor]") -> "tuple[Mapping[str, tf.Tensor], list[Any]]":
        with tf.GradientTape() as tape:
            scalars = model.loss_fn(*batch, training=True)
            loss = optimizer.scale_loss(scalars["loss"])
        return scalars, tape.gradient(loss, variables)

    def update(found: list[Any]) -> None:
        optimizer.apply(found, variables)

    if xla:
        # Without what makes the batches: XLA can't compile all of that.
        gradients = tf.function(gradients, jit_compile=True)
        update = tf.function(update, jit_compile=True)

    def step(number: "tf.Tensor") -> "Mapping[str, tf.Tensor]":
        scalars, found = distribution.mean(
            lambda share, shares: gradients(batches(number, share, shares))
        )
        update(found)
        return scalars

    return step


def _measure_and_export(
    model: Model,
    evaluate_fn: Callable[[Model], Mapping[str, float]],
    trained: Trained,
    output: Path,
) -> dict[str, float]:
    """Write `evaluation/`, `model/` and `metrics.json`; return the metrics."""
    evaluation = dict(evaluate_fn(model))
    with ScalarWriter(output / "evaluation") as writer:
        writer.write(trained.steps, evaluation)
    began = time.perf_counter()
    export_model(output, model.module, model.signatures, about=model.about)
    metrics = {
        **evaluation,
        "steps": trained.steps,
        "train_seconds": round(trained.seconds, 3),
        "steps_per_second": round(trained.steps_per_second, 1),
        "export_seconds": round(time.perf_counter() - began, 3),
    }
    write_metrics(output, metrics)
    print("  ".join(f"{name} {value:.5g}" for name, value in metrics.items()), flush=True)
    return metrics
