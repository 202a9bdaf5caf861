"""Tables for a terminal, as wide as it is: what has no room in its column goes on below."""

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from datetime import datetime

_GAP = "  "
_NARROWEST = 24
"""Characters of a column that is wrapped; with fewer it stands below its row."""
_INDENT = "    "


def terminal_width() -> int | None:
    """Return how many columns there are; None where nobody looks, as in a file.

    COLUMNS says it, or else the terminal.
    """
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(
    rows: Sequence[Sequence[str]],
    width: int | None,
    *,
    heading: bool = False,
    wrapped: int | None = None,
    below: Sequence[str] = (),
) -> str:
    """Return `rows` in columns.

    Args:
        rows: of the same length.
        width: how wide it may be; None: as wide as it gets.
        heading: whether the first row names the columns.
        wrapped: number of the column whose cells may be broken into lines.
        below: for each row what stands below it, in lines of its own; empty for nothing.
    """
    if not rows:
        return ""
    # Values are those of users: none may end a line of the table, or move the cursor.
    rows = [
        [_printable_lines(cell) if place == wrapped else printable(cell) for place, cell in row]
        for row in map(enumerate, rows)
    ]
    below = [_printable_lines(text) for text in below]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    cut = list(below) or [""] * len(rows)
    kept = [list(row) for row in rows]
    if width is not None and wrapped is not None and _total(widths) > width:
        room = width - (_total(widths) - widths[wrapped])
        if room >= min(_NARROWEST, widths[wrapped]):
            widths[wrapped] = room
        else:
            for number, row in enumerate(kept):
                cell = row.pop(wrapped)
                if number > 0 or not heading:
                    cut[number] = "\n".join(part for part in (cell, cut[number]) if part)
            widths.pop(wrapped)
            wrapped = None
    lines: list[str] = []
    for row, text in zip(kept, cut, strict=True):
        lines += _lines(row, widths, wrapped)
        lines += _broken(text, None if width is None else width - len(_INDENT), _INDENT)
    return "\n".join(lines)


def printable(text: str) -> str:
    r"""Return `text` with what would move a cursor or end a line as an escape: `\n`, `\x1b`."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def _printable_lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def fitting(columns: Sequence[Sequence[str]], width: int | None, used: int) -> int:
    """Return how many of the `columns`, from the first on, have room beside `used` characters."""
    for number, column in enumerate(columns):
        used += len(_GAP) + max(len(cell) for cell in column)
        if width is not None and used > width:
            return number
    return len(columns)


def width_of(columns: Sequence[Sequence[str]]) -> int:
    """Return how wide a table of these columns is."""
    return _total([max(len(cell) for cell in column) for column in columns])


def paragraph(text: str, width: int | None) -> str:
    """Return `text` in lines that fit."""
    return "\n".join(
        line for part in text.splitlines() for line in _broken(part, width, "") or [""]
    )


def moment(when: datetime) -> str:
    """Return a time in the reader's own zone, to the second: `2026-03-01 10:00:00 UTC`."""
    return when.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def minute(when: datetime) -> str:
    """Return the same to the minute."""
    return when.astimezone().strftime("%Y-%m-%d %H:%M %Z")


def duration(seconds: float) -> str:
    """Return `41 s`, `3 min 5 s` or `2 h 3 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(count: int) -> str:
    """Return `812 bytes`, `40.2 kB`, `1.2 MB` or `3.4 GB`."""
    for factor, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count} byte{'' if count == 1 else 's'}"


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _lines(row: Sequence[str], widths: Sequence[int], wrapped: int | None) -> list[str]:
    cells = [[cell] for cell in row]
    if wrapped is not None:
        cells[wrapped] = _broken(row[wrapped], widths[wrapped], "") or [""]
    return [
        _GAP.join(
            (cell[number] if number < len(cell) else "").ljust(width)
            for cell, width in zip(cells, widths, strict=True)
        ).rstrip()
        for number in range(max(len(cell) for cell in cells))
    ]


def _broken(text: str, width: int | None, indent: str) -> list[str]:
    found = []
    for line in text.splitlines():
        lines = [line]
        if width is not None:
            lines = textwrap.wrap(
                line, max(width, 1), break_long_words=False, break_on_hyphens=False
            )
        found += [f"{indent}{one}" for one in lines]
    return found
