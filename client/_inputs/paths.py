"""Paths to files: folders, standard input, pipes, and what kind of file a name or content tells."""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from stat import S_ISFIFO

from ..errors import FileError, PictureError

STDIN = "-"

#: What is taken from a folder; a file given by name may be called anything.
PICTURES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

_KINDS = {".npy": "array", ".json": "json", ".txt": "text", ".csv": "table", ".tsv": "table"}

#: Endings that are listed in a message.
_SHOWN = 5

#: Characters of JSON that are shown: it may be long.
_QUOTED = 60

_NPY_MAGIC = b"\x93NUMPY"


def find_files(
    paths: Iterable[str | Path], tell: Callable[[str], None] = lambda _: None
) -> list[str | FileError]:
    """Return the files of `paths`, with folders replaced by the pictures directly in them, by name.

    A path of which nothing comes is replaced by the error that says why. `tell` is told what of a
    folder is left out.
    """
    found: list[str | FileError] = []
    for path in paths:
        given = os.fspath(path)
        if _is_json_itself(given):
            found.append(
                FileError(
                    given,
                    f"There is no file {_begun(given)!r}. JSON itself goes through a pipe, as in "
                    "`echo '{...}' | python -m client predict -`, or in a file whose name ends in "
                    ".json.",
                )
            )
            continue
        if not os.path.isdir(given):
            found.append(given)
            continue
        try:
            seen = sorted(each for each in Path(given).iterdir() if not each.name.startswith("."))
            inside = list(filter(_is_picture, seen))
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
        elif others := [each for each in seen if not _is_picture(each)]:
            tell(f"Left out of folder {given!r}: {_in_short(others)}.")
    return found


def _in_short(others: Sequence[Path]) -> str:
    """Return `3 files that are no pictures by their names (.heic, .txt), 1 folder`."""
    folders = sum(each.is_dir() for each in others)
    ends = {each.suffix.lower() or "no ending" for each in others if not each.is_dir()}
    files = len(others) - folders
    parts = []
    if files:
        some = ", ".join(sorted(ends)[:_SHOWN]) + (", ..." if len(ends) > _SHOWN else "")
        what = "file that is no picture" if files == 1 else "files that are no pictures"
        parts.append(f"{files} {what} by the name ({some})")
    if folders:
        parts.append(f"{folders} folder{'s' * (folders > 1)}")
    return ", ".join(parts)


def kind_of(path: str) -> str:
    """Return `array`, `json`, `text`, `table` or `picture`, as the end of a name tells."""
    return _KINDS.get(Path(path).suffix.lower(), "picture")


def kind_of_content(content: bytes) -> str:
    """Return `array`, `json`, `text` or `picture`, as the beginning of a stream tells."""
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


def _is_json_itself(given: str) -> bool:
    """Whether JSON was given in the place of a path: an object or array, and no file's name."""
    if given.lstrip()[:1] not in ("[", "{") or os.path.lexists(given):
        return False
    try:
        json.loads(given)
    except (ValueError, RecursionError):
        # A name that begins so, or JSON whose quotes the shell has taken: `{plan:basic}`.
        return ":" in given and given.rstrip().endswith("}")
    return True


def _begun(given: str) -> str:
    return given if len(given) <= _QUOTED else given[:_QUOTED] + "..."


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURES and not path.name.startswith(".") and path.is_file()


def _is_text(content: bytes) -> bool:
    try:
        # Its end may be in the middle of a letter.
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(content)
    except UnicodeDecodeError:
        return False
    return bool(text) and all(char.isprintable() or char in "\t\r\n" for char in text)
