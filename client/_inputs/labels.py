"""Names of a model's classes: files of lines `id:name`."""

from __future__ import annotations

from pathlib import Path

from ..errors import FileError

#: Of a class: what int64 holds, TF's type for them.
_DIGITS = 19

#: Characters of a wrong line that are shown.
_QUOTED = 80


def read_labels(path: str | Path) -> dict[int, str]:
    """Return the names of classes by number, as the file at `path` has them.

    Each line is `id:name`, UTF-8; the name may hold further colons. Empty lines are skipped, as is
    white space around both parts.

    Raises:
        FileError: the file cannot be read, a line is not `id:name`, or a number comes twice.
    """
    path = str(path)
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as exc:
        raise FileError(path, f"There is no labels file {path!r}. Check the path.") from exc
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8"
        raise FileError(
            path, f"Cannot read labels file {path!r} ({reason}). Give lines `id:name`."
        ) from exc
    labels: dict[int, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        key, colon, name = (part.strip() for part in line.partition(":"))
        # isdecimal alone takes digits of every script, which int() does too; files mean ASCII.
        if not (colon and name and key.isascii() and key.isdecimal() and len(key) < _DIGITS):
            raise FileError(
                path,
                f"Line {number} of labels file {path!r} is {line.strip()[:_QUOTED]!r}. "
                "Write `id:name`, the id a whole number from 0 up.",
            )
        if int(key) in labels:
            raise FileError(
                path,
                f"Line {number} of labels file {path!r} names class {int(key)} again. "
                "Give each class one name.",
            )
        labels[int(key)] = name
    if not labels:
        raise FileError(path, f"Labels file {path!r} is empty. Write lines `id:name`.")
    return labels
