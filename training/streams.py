"""Data in an object store, read where it is: paths, files and ranges of bytes.

For boot files, of TensorFlow or of anything else: it loads none of it. What it reads is read ahead,
and read on at the same byte when the store hiccups. The same calls take local folders.
"""

import gzip
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import BinaryIO, TypeVar, cast

from store.streams import AHEAD, PIECE_BYTES, in_order
from store.urls import is_s3
from training.stored_paths import StoredPath, stored_folder
from training.tf_config import Cluster

__all__ = [
    "AHEAD",
    "PIECE_BYTES",
    "Folder",
    "StoredPath",
    "contents",
    "files",
    "folder",
    "in_order",
    "ranges",
    "read",
    "share",
]

Folder = Path | StoredPath
"""A folder or a file, of this machine or in a store."""

REQUESTS = 16
"""At a time, of small files: each costs a round trip."""
_GZIP = b"\x1f\x8b"

_Item = TypeVar("_Item")


def folder(url: str) -> Folder:
    """Return `--data_url` as a folder: a path of this machine, or what stands for one in a store.

    Raises:
        TrainingError: there is nothing.
    """
    return stored_folder(url) if is_s3(url) else Path(url)


def share(items: Sequence[_Item], cluster: Cluster | None = None) -> Sequence[_Item]:
    """Return every n-th of some items, for one of n workers. All of them have to give the same.

    Args:
        cluster: the workers; default: those of TF_CONFIG.
    """
    cluster = cluster or Cluster.of_environment()
    return items[cluster.index :: cluster.workers]


def files(where: Folder, pattern: str = "**/*") -> list[Folder]:
    """Return the files in a folder that match a glob, sorted by path."""
    # Of one kind, whichever that is.
    found = cast("Iterator[Path]", where.glob(pattern))
    return list(sorted(file for file in found if file.is_file()))


def below(file: Folder, where: Folder) -> PurePath:
    """Return the path of a file below a folder."""
    return file.relative_to(where)  # type: ignore[arg-type]


def read_beginning(file: Folder) -> bytes:
    """Return the first 8 bytes of a file."""
    if isinstance(file, StoredPath):
        return bytes(file.read_range(0, 8))
    with file.open("rb") as source:
        return source.read(8)


def contents(some: Sequence[Folder]) -> Iterator[tuple[Folder, bytes]]:
    """Yield small files with what they hold, in their order. The next ones are read meanwhile."""
    yield from zip(some, in_order(lambda file: file.read_bytes(), some, REQUESTS), strict=True)


def ranges(file: Folder, size: int = PIECE_BYTES) -> list[tuple[int, int]]:
    """Return the ranges of a file, as first byte and number of bytes: to `share`, and to `read`."""
    length = file.stat().st_size
    return [(first, min(size, length - first)) for first in range(0, length, size)]


def read(file: Folder, some: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """Yield the bytes of ranges of a file, in their order. The next ones are read meanwhile."""
    if isinstance(file, StoredPath):
        yield from in_order(lambda one: bytes(file.read_range(*one)), some)
        return
    with file.open("rb") as source:
        for first, count in some:
            source.seek(first)
            yield source.read(count)


def in_pieces(file: Folder) -> Iterator[bytes]:
    """Yield what a file holds, in its order, in pieces of 4 MiB."""
    return read(file, ranges(file))


@contextmanager
def opened(file: Folder, packed: bool | None = None) -> Iterator[BinaryIO]:
    """Yield a file to read, unpacked if gzip has packed it; None: if its first bytes say so."""
    with file.open("rb") as raw:
        if packed is None:
            packed = raw.peek(len(_GZIP))[: len(_GZIP)] == _GZIP
        yield cast("BinaryIO", gzip.GzipFile(fileobj=raw) if packed else raw)
