"""Paths to files: folders, standard input, pipes, and what kind of file a name or content tells."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from stat import S_ISFIFO

from ..errors import FileError, PictureError

STDIN = "-"

#: What is taken from a folder; a file given by name may be called anything.
PICTURES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

_KINDS = {".npy": "array", ".json": "json", ".txt": "text", ".csv": "table", ".tsv": "table"}

_NPY_MAGIC = b"\x93NUMPY"


def find_files(paths: Iterable[str | Path]) -> list[str | FileError]:
    """Return the files of `paths`, with folders replaced by the pictures directly in them, by name.

    A path of which nothing comes is replaced by the error that says why.
    """
    found: list[str | FileError] = []
    for path in paths:
        given = os.fspath(path)
        if not os.path.isdir(given):
            found.append(given)
            continue
        try:
            inside = sorted(filter(_is_picture, Path(given).iterdir()))
        except OSError as exc:
            found.append(
                FileError(
                    given,
                    f"Cannot read folder {given!r} ({exc.strerror or exc}). Check its permissions.",
                )
            )
            continue
        found.extend(map(str, inside))
        if not inside:
            text = (
                f"Folder {given!r} holds no picture. "
                f"Put files there that end in {', '.join(sorted(PICTURES))}, or name the files."
            )
            found.append(PictureError(given, text))
    return found


def kind_of(path: str) -> str:
    """Return `array`, `json`, `text`, `table` or `picture`, as the end of a name tells."""
    return _KINDS.get(Path(path).suffix.lower(), "picture")


def kind_of_content(content: bytes) -> str:
    """Return `array`, `json`, `text` or `picture`, as the content of a stream tells."""
    if content.startswith(_NPY_MAGIC):
        return "array"
    if content.lstrip()[:1] in (b"[", b"{"):
        return "json"
    return "text" if _is_text(content) else "picture"


def is_stream(path: str) -> bool:
    """Whether a path is standard input or a pipe, whose name tells nothing."""
    try:
        return path == STDIN or S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def count(files: Iterable[str | FileError]) -> int | None:
    """Return about how many examples are in files of `find_files`; None if only reading tells."""
    number = 0
    for file in files:
        kind = "" if isinstance(file, FileError) else kind_of(file)
        if isinstance(file, FileError):
            number += 1
        elif is_stream(file) or kind not in ("picture", "text", "table"):
            return None
        elif kind == "picture":
            number += 1
        else:
            try:
                with open(file, "rb") as lines:
                    number += sum(1 for _ in lines) - (kind == "table")
            except OSError:
                number += 1
    return number


def read(path: str) -> bytes:
    """Return the content of a file, or of standard input.

    Raises:
        FileError: it cannot be read.
    """
    if path == STDIN:
        if sys.stdin is None:
            raise FileError(path, "Standard input is closed. Give it a file, or name one.")
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except FileNotFoundError as exc:
        raise FileError(path, f"There is no file {path!r}. Check the path.") from exc
    except OSError as exc:
        raise FileError(
            path, f"Cannot read {path!r} ({exc.strerror or exc}). Check its permissions."
        ) from exc


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURES and not path.name.startswith(".") and path.is_file()


def _is_text(content: bytes) -> bool:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return False
    return bool(text) and all(char.isprintable() or char in "\t\r\n" for char in text)
