"""Which keys of objects can be files of one folder. S3 takes nearly any text for a key."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from store.errors import Unusable
from store.objects import StoredObject
from store.urls import S3Url

_MOST_BYTES = 255
"""Of a name, on Linux."""
_NAMED = 3


def require_files(url: S3Url, entries: Iterable[StoredObject]) -> None:
    """Raise StoreError, with their names, if some objects below `url` can't be files of a folder.

    What some tools put for a folder, an empty object whose key ends with '/', is no file, and fine.
    """
    files = {entry.path: entry for entry in entries if not _is_folder_marker(entry)}
    folders = {path[:index] for path in files for index in _slashes(path)}
    unfit = [(path, problem) for path in sorted(files) if (problem := _problem(path, folders))]
    if unfit:
        shown = ", ".join(f"{path!r} ({problem})" for path, problem in unfit[:_NAMED])
        more = f", and {len(unfit) - _NAMED} more" if len(unfit) > _NAMED else ""
        raise Unusable(
            f"'{url}' has objects that can't be files of a folder: {shown}{more}. Copy them to "
            "other keys, or delete them."
        )


def unfinished(file: Path, by: object = "") -> Path:
    """Return where a file is written until it is complete: beside it, under no other file's name.

    Args:
        file: as long a name as there may be.
        by: who writes it, where several may at the same time.
    """
    digest = hashlib.sha256(f"{file.name}/{by}".encode(errors="surrogateescape")).hexdigest()
    return file.with_name(f".{digest[:32]}.fetching")


def _is_folder_marker(entry: StoredObject) -> bool:
    return not entry.path or (entry.path.endswith("/") and not entry.size)


def _slashes(path: str) -> list[int]:
    return [index for index, letter in enumerate(path) if letter == "/"]


def _problem(path: str, folders: set[str]) -> str:
    """Return why a key can't be the path of a file; empty if it can."""
    parts = path.split("/")
    if "" in parts:
        return "a part of it is empty"
    if "." in parts or ".." in parts:
        return "it leads elsewhere"
    if "\0" in path:
        return "it has a NUL"
    if max(len(part.encode(errors="replace")) for part in parts) > _MOST_BYTES:
        return f"a part of it is longer than {_MOST_BYTES} bytes"
    return "it is a folder, too" if path in folders else ""
