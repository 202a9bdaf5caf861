"""Train a classifier of handwritten digits on MNIST, and export it as a SavedModel."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from mnist_data import Digits, read_mnist  # type: ignore[import-not-found]  # beside this file

from training.command_line import ArgumentParser, positive_float, positive_int, run
from training.folders import input_folder, output_folder
from training.metrics import write_metrics


def main(arguments: Sequence[str]) -> int:
    """Train with the flags of a command line; return the exit status."""
    options = _parser().parse_args(arguments)
    with input_folder(options.data_url) as data, output_folder(options.train_url) as output:
        # Before TensorFlow is loaded: a fault in the data is reported at once.
        training_set, test_set = read_mnist(data, options.data_url)
        metrics = _train(options, training_set, test_set, output)
        write_metrics(output, metrics)
    print("  ".join(f"{name} {value:.5g}" for name, value in metrics.items()), flush=True)
    return 0


def _train(
    options: argparse.Namespace, training_set: Digits, test_set: Digits, output: Path
) -> dict[str, float]:
    """Train, evaluate and export; return the metrics."""
    from mnist_models import RECIPES, one_cycle, scaled  # type: ignore[import-not-found]
    from mnist_signatures import signatures  # type: ignore[import-not-found]

    from training.batches import ShuffledBatches
    from training.evaluation import accuracy, cross_entropy, evaluate
    from training.export import export_model
    from training.loop import LoopSettings, train
    from training.quiet_tensorflow import tf
    from training.summaries import ScalarWriter

    recipe = RECIPES[options.model]
    tf.config.threading.set_intra_op_parallelism_threads(recipe.threads)
    tf.config.threading.set_inter_op_parallelism_threads(recipe.threads)
    tf.keras.utils.set_random_seed(options.seed)
    batches = ShuffledBatches(
        [training_set.images, training_set.labels],
        options.batch_size or recipe.batch_size,
        options.seed,
    )
    max_steps = options.max_steps or (
        batches.steps(options.epochs)
        if options.epochs
        else recipe.max_steps or batches.steps(recipe.epochs)
    )
    peak = options.learning_rate or recipe.learning_rate
    schedule = one_cycle(peak, max_steps) if recipe.one_cycle else lambda _: tf.constant(peak)
    model = recipe.build()
    optimizer = recipe.optimizer(schedule if recipe.one_cycle else peak)
    optimizer.build(model.trainable_variables)

    def step(number: "tf.Tensor") -> "dict[str, tf.Tensor]":
        images, labels = batches(number)
        with tf.GradientTape() as tape:
            logits = model(scaled(images), training=True)
            loss = cross_entropy(logits, labels)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return {"loss": loss, "accuracy": accuracy(logits, labels)}

    print(
        f"Training '{options.model}' ({model.count_params()} parameters) on "
        f"{len(training_set.labels)} pictures for {max_steps} steps",
        flush=True,
    )
    trained = train(
        step,
        schedule,
        tf.train.Checkpoint(model=model, optimizer=optimizer),
        output,
        LoopSettings(
            max_steps=max_steps,
            log_every=options.log_every or recipe.log_every,
            checkpoint_every=options.checkpoint_every or recipe.checkpoint_every,
        ),
        {name: value for name, value in vars(options).items() if not name.endswith("_url")},
    )
    evaluation = evaluate(lambda images: model(scaled(images)), test_set.images, test_set.labels)
    with ScalarWriter(output / "evaluation") as writer:
        writer.write(trained.steps, evaluation)
    began = time.perf_counter()
    export_model(output, model, signatures(model))
    return {
        **evaluation,
        "steps": trained.steps,
        "train_seconds": round(trained.seconds, 3),
        "steps_per_second": round(trained.steps_per_second, 1),
        "export_seconds": round(time.perf_counter() - began, 3),
    }


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="train_mnist.py", description=__doc__)
    add = parser.add_argument
    add("--data_url", required=True, help="folder or s3:// URL of the four MNIST files")
    add("--train_url", required=True, help="folder or s3:// URL for all that the training writes")
    add("--model", choices=("cnn", "softmax"), default="cnn", help="what to train")
    add("--epochs", type=positive_float, help="passes over the data; default: the model's")
    add("--max_steps", type=positive_int, help="steps, whatever --epochs says")
    add("--batch_size", type=positive_int, help="pictures in a step; default: the model's")
    add("--learning_rate", type=positive_float, help="its highest value; default: the model's")
    add("--seed", type=int, default=0, help="of the first weights and the order of the pictures")
    add("--log_every", type=positive_int, help="steps between scalars; default: the model's")
    add("--checkpoint_every", type=positive_int, help="in steps; default: the model's")
    return parser


if __name__ == "__main__":
    run(main)
