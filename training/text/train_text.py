"""Train a classifier of short texts, and export it as a SavedModel that takes plain strings."""

from collections.abc import Sequence

from text_data import read_texts  # type: ignore[import-not-found]  # beside this file

from training import command_line
from training.folders import input_folder, output_folder
from training.run_settings import RunSettings, run_parser


def main(arguments: Sequence[str]) -> int:
    """Train with the flags of a command line; return the exit status."""
    options = run_parser("train_text.py", __doc__).parse_args(arguments)
    with input_folder(options.data_url) as data, output_folder(options.train_url) as output:
        train, test, classes = read_texts(data, options.data_url)
        from text_model import DEFAULTS, encode, optimizer, text_model  # type: ignore[import-not-found]

        from training.batches import ShuffledBatches
        from training.evaluation import evaluate
        from training.trainer import run

        settings = RunSettings.of(options, DEFAULTS, examples=len(train.labels))
        run(
            # Encoded once, not in each epoch.
            input_fn=lambda: ShuffledBatches(
                [encode(train.texts), train.labels], settings.batch_size, settings.seed
            ),
            model_fn=lambda: text_model(classes),
            optimizer_fn=optimizer,
            evaluate_fn=lambda model: evaluate(model.loss_fn, [encode(test.texts), test.labels]),
            output=output,
            settings=settings,
        )
    return 0


if __name__ == "__main__":
    command_line.run(main)
