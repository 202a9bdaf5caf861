"""A disk that is full: known by what programs say of it, and told with what is free."""

from __future__ import annotations

import shutil
from pathlib import Path

from .console import LocalError

_WORDS = "no space left on device"
"""What the kernel says (ENOSPC), however a program begins the line."""


def full(said: str, folder: Path) -> LocalError | None:
    """The error of a full disk, if that is what a program's output tells of; else None.

    Args:
        said: the end of the output.
        folder: where the program wrote.
    """
    if _WORDS not in said.lower():
        return None
    return error(folder)


def error(folder: Path) -> LocalError:
    """What to tell of a full disk."""
    free = shutil.disk_usage(folder).free / 2**30
    return LocalError(
        f"the disk of {folder} is full: {free:.1f} GiB are free.",
        "Free some, then run the same command again: what is done is kept.",
    )
