"""The two URLs of a boot file as local folders, whether they are local or `s3://bucket/prefix`."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from store.client import from_environment
from store.urls import S3Url, is_s3
from training.command_line import TrainingError
from training.stored_paths import stored_folder, used
from training.streams import Folder

CHECKPOINT_FOLDER = "checkpoints"
"""In `--train_url`: what a run goes on from (docs/contracts.md)."""
MODEL_FOLDER = "model"
"""In `--train_url`: the SavedModel."""
EVALUATION_FOLDER = "evaluation"
"""In `--train_url`: event files of what was measured, for TensorBoard's second curve."""


@contextmanager
def input_folder(url: str) -> Iterator[Folder]:
    """Yield `--data_url` as a folder to read from.

    One in a store is read where it is, by paths that are used as those of `pathlib` are
    (`training.streams`). What takes paths of this machine only gets copies, deleted at the end.

    Raises TrainingError when there is nothing at `url`.
    """
    if not is_s3(url):
        if not Path(url).is_dir():
            raise TrainingError(f"--data_url={url!r} is not a folder. Give the data set's folder.")
        yield Path(url)
        return
    with used(stored_folder(url)) as folder:
        yield folder


@contextmanager
def output_folder(url: str) -> Iterator[Path]:
    """Yield `--train_url` as a folder to write to; in a bucket it is kept up to date meanwhile.

    The checkpoints that are there already are in the folder.

    Raises TrainingError when `url` can't be written to.
    """
    if not is_s3(url):
        try:
            Path(url).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(
                f"--train_url={url!r} can't be made: {error.strerror}. "
                "Give a folder that can be written to."
            ) from error
        yield Path(url)
        return
    from training.mirror.upload_mirror import UploadMirror

    place = S3Url.parse(url, "--train_url")
    with tempfile.TemporaryDirectory(prefix="dlstack-train-") as temporary:
        mirror = UploadMirror(from_environment(), Path(temporary), place)
        mirror.fetch({CHECKPOINT_FOLDER})
        mirror.start()
        try:
            yield Path(temporary)
        finally:
            mirror.finish()
