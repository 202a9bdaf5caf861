"""`run`: train a model, evaluate it and export it, with all that a job needs around that."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.about import check_about
from training.checkpoints import state_of
from training.command_line import TrainingError
from training.export import export_model
from training.folders import EVALUATION_FOLDER
from training.metrics import write_metrics
from training.quiet_tensorflow import tf
from training.run_settings import RunSettings
from training.samples import Samples, records
from training.schedules import learning_rate as scheduled
from training.steps import faults
from training.steps.distribution import Distribution
from training.steps.inputs import Batches, Inputs, Share, inputs_of
from training.steps.loop import Step, Trained, train
from training.steps.validation import Validation
from training.summaries import ScalarWriter

__all__ = ["Batches", "LearningRate", "Model", "run"]

LearningRate = float | Callable[["tf.Tensor"], "tf.Tensor"]
"""A number, or step number (from 0) -> number: a Keras schedule, say."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """What is trained and served."""

    module: Any
    """A Keras model that is built, or a tf.Module. Holds all variables that the rest uses; those in
    `trainable_variables` are trained."""
    loss_fn: Callable[..., Mapping[str, "tf.Tensor"]]
    """The parts of a batch, and `training` (bool) by name -> name -> mean over the batch (float32
    scalar). `loss` is minimised; all of them are logged."""
    signatures: Mapping[str, Any]
    """Name -> tf.function with an input signature that returns name -> tensor."""
    about: Mapping[str, Any] | None = None
    """Title, meaning of inputs and names of classes, for people: see `training.export`."""
    samples: Samples | None = None
    """Requests that it answers, to try it and to warm servers up with: see `training.export`."""


def run(
    *,
    input_fn: "Callable[[], Batches | tf.data.Dataset]",
    model_fn: Callable[[], Model],
    optimizer_fn: Callable[[LearningRate], Any],
    evaluate_fn: Callable[[Model], Mapping[str, float]],
    output: Path,
    settings: RunSettings,
    learning_rate: LearningRate | None = None,
    validate_fn: Callable[[Model], Mapping[str, float]] | None = None,
) -> dict[str, float]:
    """Train as `settings` say, leaving in `output` all that a boot file has to leave there.

    That is event files, checkpoints, `evaluation/`, `model/` and `metrics.json`. It goes on from
    the newest checkpoint that is in `output` already. With several workers (TF_CONFIG) or GPUs
    each takes its share of every batch, and only the first worker writes. The first three functions
    are called once each; nothing of TensorFlow may be created before that.

    Args:
        input_fn: makes the batches: a function of their number, or a dataset of batches of
            `settings.batch_size` examples. A dataset begins anew when it ends, and its last batch
            is left out if it is smaller. With several workers, it gives each of them whole batches,
            in the same order, or only the worker's own share of each.
        model_fn: makes the model; the random state is seeded.
        optimizer_fn: the learning rate -> a Keras optimizer.
        evaluate_fn: measures the trained model; see `training.evaluation.evaluate`.
        learning_rate: default: that of `settings`.
        validate_fn: measures while the model trains, if `settings.evaluate_every` says so; default:
            `evaluate_fn`.

    Returns:
        What `evaluate_fn` found, and steps, seconds and speed; nothing for the other workers. If
        the best weights are kept, `best_step` is theirs.

    Raises:
        TrainingError: the loss is not finite, `output` has checkpoints of another run, a
            batch can't be shared equally, another worker is gone, or the model's `about` or
            `samples` have a fault.
    """
    tf.config.threading.set_intra_op_parallelism_threads(settings.threads)
    tf.config.threading.set_inter_op_parallelism_threads(settings.threads)
    distribution = Distribution()
    distribution.check_batch_size(settings.batch_size)
    tf.keras.utils.set_random_seed(settings.seed)
    if settings.mixed_precision is not None:
        tf.keras.mixed_precision.set_global_policy(f"mixed_{settings.mixed_precision}")
    model = model_fn()
    # Now: a misspelt name would be found after the training only.
    if model.about is not None:
        check_about(model.about, model.signatures)
    if model.samples is not None:
        records(model.samples, model.signatures)
    inputs = inputs_of(input_fn(), settings.batch_size, distribution)
    rate = _rate(learning_rate, settings)
    optimizer = _built(optimizer_fn(rate), model, settings)
    _announce(model, settings, distribution.replicas)
    validation = None
    if settings.evaluate_every is not None:
        measure = validate_fn or evaluate_fn
        validation = Validation(
            lambda: measure(model), model.module, output, settings, distribution
        )
    with faults.in_words(xla=settings.xla), distribution.explained():
        trained = train(
            _step_of(model, inputs, optimizer, distribution, xla=settings.xla),
            rate if callable(rate) else lambda _: tf.constant(rate),
            state_of(model.module, optimizer),
            [*model.module.variables, *optimizer.variables],
            output,
            settings,
            distribution,
            inputs,
            validation,
        )
        metrics = {}
        if distribution.is_chief:
            metrics = _measure_and_export(model, evaluate_fn, trained, output, validation)
        distribution.await_all()
    return metrics


def _rate(given: LearningRate | None, settings: RunSettings) -> LearningRate:
    if given is None:
        rate: LearningRate = scheduled(
            settings.learning_rate, settings.max_steps, settings.schedule, settings.warmup
        )
        return rate
    for flag in ("schedule", "warmup"):
        if (value := settings.parameters.get(flag)) is not None:
            raise TrainingError(
                f"--{flag}={value} has no effect: the boot file has a learning rate of its own. "
                "Leave the flag out, or let the boot file give `run` no learning_rate."
            )
    return given


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
    model: Model, inputs: Inputs, optimizer: Any, distribution: Distribution, *, xla: bool
) -> Step:
    """Return one step of the training: gradients of each replica's share, their mean applied."""
    variables = model.module.trainable_variables

    def gradients(batch: Sequence[Any]) -> "tuple[Mapping[str, tf.Tensor], list[Any]]":
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
        batch: Share = inputs.draw(number)
        scalars, found = distribution.mean(lambda share, shares: gradients(batch(share, shares)))
        update(found)
        return scalars

    return step


def _measure_and_export(
    model: Model,
    evaluate_fn: Callable[[Model], Mapping[str, float]],
    trained: Trained,
    output: Path,
    validation: Validation | None,
) -> dict[str, float]:
    """Write `evaluation/`, `model/` and `metrics.json`; return the metrics."""
    best = {}
    if validation is not None and validation.keeps_best:
        validation.restore_best(trained.steps)
        best = {"best_step": validation.best_step}
    evaluation = dict(evaluate_fn(model))
    if validation is None:
        with ScalarWriter(output / EVALUATION_FOLDER) as writer:
            writer.write(trained.steps, evaluation)
    began = time.perf_counter()
    export_model(output, model.module, model.signatures, about=model.about, samples=model.samples)
    metrics = {
        **evaluation,
        **best,
        "steps": trained.steps,
        "train_seconds": round(trained.seconds, 3),
        "steps_per_second": round(trained.steps_per_second, 1),
        "export_seconds": round(time.perf_counter() - began, 3),
    }
    write_metrics(output, metrics)
    print("  ".join(f"{name} {value:.5g}" for name, value in metrics.items()), flush=True)
    return metrics
