"""Whether the disk has room for what is to be fetched: known before the first byte of 100 GB."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from store.errors import NoRoom

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the kernel says of a disk, or a quota, that is used up."""


def require(folder: Path, size: int, what: str) -> None:
    """Raise NoRoom unless `size` bytes fit on the disk of `folder`.

    Args:
        folder: where they are to be; it or a folder above it is there.
        size: bytes.
        what: is to be fetched: `'s3://bucket/data'`.
    """
    disk = shutil.disk_usage(_there(folder))
    if size > disk.free:
        raise no_room(folder, f"{what} has {in_gb(size)}")


def no_room(folder: Path, why: str) -> NoRoom:
    """Return the error of a disk that is too small."""
    disk = shutil.disk_usage(_there(folder))
    return NoRoom(
        f"No room at '{folder}': {why}, and of the disk's {in_gb(disk.total)} "
        f"{in_gb(disk.free)} are free."
    )


@contextmanager
def explained(folder: Path, what: str) -> Iterator[None]:
    """Turn the error of a disk that is full by now into NoRoom."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise no_room(folder, f"the disk was full while {what} was fetched") from error


def used(folder: Path) -> int:
    """Return how many bytes the files below a folder take on the disk, as far as can be seen."""
    found = 0
    for above, _, names in os.walk(folder):
        for name in names:
            try:
                found += os.lstat(os.path.join(above, name)).st_blocks * 512
            except OSError:
                # Renamed since it was listed.
                continue
    return found


def in_gb(size: int) -> str:
    """Return a number of bytes for people: `1.5 GB`, `12 MB`."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _there(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
