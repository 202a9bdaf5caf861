"""Files that a power cut leaves whole: they get their name when their content is on the disk."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def settle(unfinished: Path, target: Path) -> None:
    """Rename a file that is written, to be there after a power cut: all of it, or not at all."""
    _sync(unfinished)
    unfinished.rename(target)
    _sync(target.parent)


def settle_checked(unfinished: Path, target: Path) -> None:
    """The same, with a note of size and checksum beside it for `is_whole`."""
    note = _note(target)
    temporary = note.with_name(f"{note.name}.new")
    temporary.write_text(f"{unfinished.stat().st_size} {_sha256(unfinished)}\n")
    # An older note would tell of another content.
    target.unlink(missing_ok=True)
    settle(temporary, note)
    settle(unfinished, target)


def settle_folder(unfinished: Path, target: Path) -> None:
    """The same for a folder of files."""
    for file in unfinished.iterdir():
        _sync(file)
    settle(unfinished, target)


def is_whole(target: Path, *, thoroughly: bool = False) -> bool:
    """Whether a file is there as it was written; without a note, whether it has any content.

    Args:
        thoroughly: compare the checksum as well: about a second for a GiB.
    """
    if not target.exists():
        return False
    try:
        size, checksum = _note(target).read_text().split()
    except FileNotFoundError:
        return target.stat().st_size > 0
    return target.stat().st_size == int(size) and (not thoroughly or _sha256(target) == checksum)


def _note(target: Path) -> Path:
    return target.with_name(f"{target.name}.sha256")


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
