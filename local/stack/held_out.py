"""The proof at the end of `make up`: test digits, sent by the client to the exposed port."""

import gzip
import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from ..console import LocalError
from ..home import REPOSITORY


def pictures(data_dir: Path, count: int) -> tuple[list[Image.Image], list[int]]:
    """The first test pictures (28x28, grey, white on black) and what they show.

    The file format is IDX: a magic number, the sizes as big-endian 32-bit integers, then the bytes
    (http://yann.lecun.com/exdb/mnist/).
    """
    with gzip.open(data_dir / "t10k-images-idx3-ubyte.gz") as file:
        _, _, rows, columns = struct.unpack(">4I", file.read(16))
        images = [
            Image.frombytes("L", (columns, rows), file.read(rows * columns)) for _ in range(count)
        ]
    with gzip.open(data_dir / "t10k-labels-idx1-ubyte.gz") as file:
        file.read(8)
        return images, list(file.read(count))


def predict(
    variables: Mapping[str, str], data_dir: Path, count: int
) -> tuple[list[int], list[int]]:
    """Send `count` test digits as PNG files through `python -m client predict`, over gRPC.

    The client finds the stack, its TLS and its token by itself, as it does for a person.

    Args:
        variables: from `stack.environment`.
        data_dir: has the MNIST files.
        count: how many digits.

    Returns:
        The truths and the answers.

    Raises:
        LocalError: the client failed; it has said why.
    """
    images, truths = pictures(data_dir, count)
    with tempfile.TemporaryDirectory(prefix="dlstack-digits-") as folder:
        files = []
        for number, image in enumerate(images):
            files.append(f"{folder}/{number:05d}.png")
            image.save(files[-1])
        done = subprocess.run(
            [sys.executable, "-m", "client", "predict", "--json", *files],
            cwd=REPOSITORY,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            text=True,
        )
    if done.returncode:
        raise LocalError(
            "the client could not predict.", "`python -m local status` shows the parts."
        )
    return truths, [answer["prediction"] for answer in json.loads(done.stdout)["predictions"]]
