"""The four MNIST files (IDX, gzip) as arrays, with an error that names the file for each fault."""

import gzip
import math
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.command_line import TrainingError
from training.streams import Folder

SIDE = 28
CLASSES = 10
_IMAGES_MAGIC = 2051
_LABELS_MAGIC = 2049
_FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "t10k": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
_ADVICE = "Get it again with 'python3 -m training.datasets.download_mnist'."


@dataclass(frozen=True)
class Digits:
    """Pictures and what they show."""

    images: NDArray[np.uint8]
    """[n, 784], white on black, row by row."""
    labels: NDArray[np.int64]
    """[n], 0 to 9."""


def read_mnist(folder: Folder, url: str) -> tuple[Digits, Digits]:
    """Return the training and the test set in `folder`.

    Args:
        url: how the user called the folder, for errors.

    Raises:
        TrainingError: a file is missing, corrupt, or not what its name says.
    """
    missing = [name for names in _FILES.values() for name in names if not (folder / name).is_file()]
    if missing:
        raise TrainingError(
            f"--data_url={url!r} has no {' and no '.join(missing)}. "
            "Put the four MNIST files there: "
            "'python3 -m training.datasets.download_mnist' gets them."
        )
    return _read_set(folder, url, "train"), _read_set(folder, url, "t10k")


def _read_set(folder: Folder, url: str, name: str) -> Digits:
    images_name, labels_name = _FILES[name]
    images = _read_idx(folder, url, images_name, _IMAGES_MAGIC)
    labels = _read_idx(folder, url, labels_name, _LABELS_MAGIC)
    if images.shape[1:] != (SIDE, SIDE):
        raise _fault(url, images_name, f"has pictures of {images.shape[1:]} pixels, not 28 x 28")
    if len(images) != len(labels):
        raise _fault(
            url, labels_name, f"has {len(labels)} labels for the {len(images)} of {images_name}"
        )
    if len(labels) == 0:
        raise _fault(url, labels_name, "has no labels")
    if labels.max() >= CLASSES:
        raise _fault(url, labels_name, f"has the label {labels.max()}, not 0 to 9")
    return Digits(images.reshape(len(images), SIDE * SIDE), labels.astype(np.int64))


def _read_idx(folder: Folder, url: str, name: str, magic: int) -> NDArray[np.uint8]:
    """Return the array in an IDX file of bytes; `magic` says how many dimensions it has."""
    try:
        content = gzip.decompress((folder / name).read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise _fault(url, name, f"is not a complete gzip file ({error})") from error
    found = int.from_bytes(content[:4], "big")
    if len(content) < 4 or found != magic:
        raise _fault(url, name, f"starts with the number {found}, not {magic}")
    dimensions = magic % 256
    header = struct.Struct(f">{1 + dimensions}I")
    if len(content) < header.size:
        raise _fault(url, name, f"has {len(content)} bytes, less than its header")
    shape = header.unpack_from(content)[1:]
    expected = header.size + math.prod(shape)
    if len(content) != expected:
        raise _fault(url, name, f"has {len(content)} bytes, but its header says {expected}")
    return np.frombuffer(content, np.uint8, offset=header.size).reshape(shape)


def _fault(url: str, name: str, fault: str) -> TrainingError:
    return TrainingError(f"{name} in --data_url={url!r} {fault}. {_ADVICE}")
