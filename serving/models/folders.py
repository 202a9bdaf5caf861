"""Versions on disk: which folders are versions, which of them are whole, which are wanted.

Follows TensorFlow Serving's `sources/storage_path/file_system_storage_path_source.cc`. Beyond it, a
folder that is still being written is not taken for a version: see `is_model` and `is_settled`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

SETTLE_SECONDS = 1.0
"""A folder that was written to within this time may not be whole yet."""

_MAX_VERSION = 2**63 - 1
_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")

Fingerprint = tuple[tuple[str, int, int], ...]
"""Path, size and time of change (ns) of every file."""


@dataclass(frozen=True)
class VersionPolicy:
    """`FileSystemStoragePathSourceConfig.ServableVersionPolicy`."""

    latest: int = 1
    """So many of the highest numbers; 0: all."""
    specific: frozenset[int] = frozenset()
    """These numbers, whatever `latest` says; empty: no such choice."""

    def choose(self, found: Collection[int]) -> set[int]:
        """Return the numbers to serve."""
        if self.specific:
            return set(found) & self.specific
        numbers = sorted(found, reverse=True)
        return set(numbers[: self.latest] if self.latest else numbers)


def find(base_path: Path) -> tuple[dict[int, Path], list[str]]:
    """Return the folders below a base path that are versions, and remarks on those passed over.

    Raises:
        OSError: the base path can't be read.
    """
    found: dict[int, Path] = {}
    remarks: list[str] = []
    for child in sorted(base_path.iterdir()):
        if not (child.name.isascii() and child.name.isdigit()) or int(child.name) > _MAX_VERSION:
            continue
        if not is_model(child):
            remarks.append(f"{child} is passed over: it has no saved_model.pb (yet).")
            continue
        if int(child.name) in found:
            remarks.append(f"{child} is taken for version {int(child.name)}, not another folder.")
        found[int(child.name)] = child
    return found, remarks


def is_model(folder: Path) -> bool:
    """Whether a folder holds a SavedModel's graph."""
    return any((folder / name).is_file() for name in _MODEL_FILES)


def fingerprint(folder: Path) -> Fingerprint:
    """Return what changes when any file below a folder is written; empty when it has gone."""
    files = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            try:
                status = os.stat(path)
            except OSError:  # Removed meanwhile, or a link to nothing.
                continue
            # ctime: unlike mtime no copying program sets it.
            files.append((os.path.relpath(path, folder), status.st_size, status.st_ctime_ns))
    return tuple(sorted(files))


def is_settled(files: Fingerprint) -> bool:
    """Whether the last change of a folder's files is long enough ago for them to be whole."""
    newest = max((changed for _, _, changed in files), default=0) / 1e9
    return not 0 <= time.time() - newest < SETTLE_SECONDS
