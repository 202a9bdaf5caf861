"""Reading MNIST's files, and what is said of files that are missing or wrong."""

import gzip
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.conftest import MNIST_CODE, ROOT
from training.command_line import TrainingError
from training.mnist.mnist_data import read_mnist

IMAGES, LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"


def packed(content: bytes) -> bytes:
    """Without the time, which would be in the names of tests: they have to be the same in all
    processes that run them."""
    return gzip.compress(content, mtime=0)


def images(count: int, side: int = 28, magic: int = 2051) -> bytes:
    return struct.pack(">4i", magic, count, side, side) + bytes(count * side * side)


def labels(values: list[int], count: int | None = None) -> bytes:
    return struct.pack(">2i", 2049, len(values) if count is None else count) + bytes(values)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Two training and three test pictures, all black."""
    for kind, count in (("train", 2), ("t10k", 3)):
        for name, content in (
            (f"{kind}-images-idx3-ubyte.gz", images(count)),
            (f"{kind}-labels-idx1-ubyte.gz", labels(list(range(count)))),
        ):
            (tmp_path / name).write_bytes(packed(content))
    return tmp_path


def test_pictures_become_rows_and_labels_integers(small: Path) -> None:
    training_set, test_set = read_mnist(small, "x")
    assert training_set.images.shape == (2, 784) and training_set.images.dtype == "uint8"
    assert test_set.labels.tolist() == [0, 1, 2] and test_set.labels.dtype == "int64"


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        (IMAGES, b"plain text", f"{IMAGES} in --data_url='x' is not a complete gzip file"),
        (IMAGES, packed(images(3))[:-20], "is not a complete gzip file"),
        (IMAGES, packed(images(3))[:30] + b"\xff" * 30, "is not a complete gzip file"),
        (IMAGES, packed(b""), "starts with the number 0, not 2051"),
        (IMAGES, packed(labels([1, 2, 3])), "starts with the number 2049, not 2051"),
        (IMAGES, packed(images(3)[:10]), "has 10 bytes, less than its header"),
        (IMAGES, packed(images(3)[:-1]), "has 2367 bytes, but its header says 2368"),
        (IMAGES, packed(images(3, side=8)), "has pictures of (8, 8) pixels, not 28 x 28"),
        (LABELS, packed(labels([1, 2])), f"has 2 labels for the 3 of {IMAGES}"),
        (LABELS, packed(labels([1, 2], count=3)), "has 10 bytes, but its header says 11"),
        (LABELS, packed(labels([1, 2, 10])), "has the label 10, not 0 to 9"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(
    small: Path, name: str, content: bytes, error: str
) -> None:
    (small / name).write_bytes(content)
    with pytest.raises(TrainingError) as raised:
        read_mnist(small, "x")
    assert error in str(raised.value)
    assert name in str(raised.value) and "training.datasets.download_mnist" in str(raised.value)


def run_boot_file(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(MNIST_CODE / "train_mnist.py"), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def test_the_boot_file_names_missing_files_in_one_line(small: Path, tmp_path: Path) -> None:
    (small / IMAGES).unlink()
    (small / LABELS).unlink()
    done = run_boot_file(f"--data_url={small}", f"--train_url={tmp_path / 'out'}")
    assert done.returncode == 1
    assert done.stderr == (
        f"error: --data_url='{small}' has no {IMAGES} and no {LABELS}. Put the four MNIST files "
        "there: 'python3 -m training.datasets.download_mnist' gets them.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--model=mlp",), "argument --model: invalid choice: 'mlp'"),
        (("--batch_size=0",), "argument --batch_size: '0' is not 1 or more"),
        (("--learning_rate=nan",), "argument --learning_rate: 'nan' is not above 0"),
        (("--epoch=1",), "unrecognized arguments: --epoch=1"),
    ],
)
def test_a_wrong_parameter_is_a_usage_error(arguments: tuple[str, ...], error: str) -> None:
    done = run_boot_file("--data_url=x", "--train_url=y", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert error in done.stderr
