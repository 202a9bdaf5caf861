"""Train a classifier of handwritten digits on MNIST, and export it as a SavedModel."""

from collections.abc import Mapping, Sequence
from typing import Any

from mnist_data import read_mnist  # type: ignore[import-not-found]  # beside this file

from training import command_line
from training.folders import input_folder, output_folder
from training.run_settings import RunSettings, run_parser


def main(arguments: Sequence[str]) -> int:
    """Train with the flags of a command line; return the exit status."""
    parser = run_parser("train_mnist.py", __doc__)
    parser.add_argument("--model", choices=("cnn", "softmax"), default="cnn", help="what to train")
    options = parser.parse_args(arguments)
    with input_folder(options.data_url) as data, output_folder(options.train_url) as output:
        # Before TensorFlow is loaded: a fault in the data is reported at once.
        train, test = read_mnist(data, options.data_url)
        from mnist_models import (  # type: ignore[import-not-found]
            RECIPES,
            model_of,
            predictions,
        )

        from training.batches import ShuffledBatches
        from training.confusion import write_confusion
        from training.evaluation import evaluate
        from training.trainer import run

        recipe = RECIPES[options.model]
        settings = RunSettings.of(options, recipe.defaults, examples=len(train.labels))

        def measure(model: Any) -> Mapping[str, float]:
            found = predictions(model.module, test.images)
            write_confusion(output, test.labels, found, step=settings.max_steps)
            return evaluate(model.loss_fn, [test.images, test.labels])

        run(
            input_fn=lambda: ShuffledBatches(
                [train.images, train.labels], settings.batch_size, settings.seed
            ),
            model_fn=lambda: model_of(recipe, train.images[:2]),
            optimizer_fn=recipe.optimizer,
            evaluate_fn=measure,
            validate_fn=lambda model: evaluate(model.loss_fn, [test.images, test.labels]),
            output=output,
            settings=settings,
        )
    return 0


if __name__ == "__main__":
    command_line.run(main)
