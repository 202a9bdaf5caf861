"""SHA-256 sums of the files in a local folder: what is uploaded, and what changed."""

import hashlib
import os
from pathlib import Path

import pulumi

_SKIPPED_FOLDERS = frozenset({".git", "__pycache__", ".venv", ".ipynb_checkpoints"})
_SKIPPED_SUFFIXES = (".pyc", ".pyo")


def folder(path: str | Path, what: str, *, hidden: bool = True) -> dict[str, str]:
    """Return relative path -> SHA-256 of every file below `path`, in order of the paths.

    Args:
        path: the folder.
        what: how to call it in an error: the configuration key that names it.
        hidden: with files and folders whose names begin with a dot.
    """
    path = Path(path)
    if not path.is_dir():
        raise pulumi.RunError(f"{what} '{path}' is not a folder. Check dlstack:{what}.")
    sums = {}
    for here, folders, files in os.walk(path):
        folders[:] = sorted(
            name for name in set(folders) - _SKIPPED_FOLDERS if hidden or not name.startswith(".")
        )
        for name in files:
            if name.endswith(_SKIPPED_SUFFIXES) or (name.startswith(".") and not hidden):
                continue
            file = Path(here, name)
            sums[file.relative_to(path).as_posix()] = _file(file, what)
    if not sums:
        raise pulumi.RunError(
            f"{what} '{path}' has no files. Put them there, or set dlstack:{what}."
        )
    return dict(sorted(sums.items()))


def _file(path: Path, what: str) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise pulumi.RunError(
            f"{what}: '{path}' can't be read: {exc.strerror}. Make it readable, or remove it."
        ) from exc
