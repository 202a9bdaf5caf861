"""What the end of a process's log says: the line, or the few, that name what went wrong.

Pure functions over text.
"""

import json
import re
from collections.abc import Sequence

from .keys import in_keys

_TRACEBACK = "Traceback (most recent call last):"
_EXCEPTION = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:: .*|:)?$")
"""The first line of an exception below its traceback: its class, and its text if it has one."""
_CHAINS = (
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)
_CAUSE = _CHAINS[0]
_IGNORED = "Exception ignored in"
"""Python's words for an exception in a destructor, which ends nothing."""
_NOISE = re.compile(
    # Logs of TensorFlow's C++ code, of absl, and of Python's and the servers' loggers.
    r"[IWEF]\d{4} |\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d|WARNING:|INFO:|To enable the following"
    # Keras' and others' warnings as Python prints them, and the interpreter's own at its end.
    r"|.*Warning: |Exception ignored in"
)
_ERROR = re.compile(
    r"(?:[\w.-]+: error: |error: |\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [EC] [\w.]+: )(.*)"
)
_AGENT = re.compile(
    r"Ran boot file '.*' in |boot file '.*' exited with status |Fetched code and data, "
    r"|Going on with what |Worker \d+ is done;"
)
"""Lines of the training agent (docs/contracts.md) that tell nothing of a failure."""
_LINES = 6
_CHARACTERS = 400


def last_words(log: str) -> str:
    """Return what names the failure at the end of `log`, in one line; empty if it is empty.

    That is the last of: a line `error: …` (the agent's own, and those of most commands), or the
    exception below a traceback, with all lines of its text and with its cause. Else it is the last
    line that is not of some library's logger. Flags and variables are told by their keys.
    """
    lines = log.splitlines()
    found = max(_exceptions(lines) + _errors(lines), default=None)
    if found is not None:
        return _short(in_keys(found[1]))
    written = [line for line in lines if line.strip() and not _AGENT.match(line)]
    telling = [line for line in written if not _NOISE.match(line)]
    return _short(
        in_keys((telling or written or [line for line in lines if line.strip()] or [""])[-1])
    )


def _errors(lines: Sequence[str]) -> list[tuple[int, str]]:
    """Return number and text of the last line that says by itself that it is an error."""
    for number in range(len(lines) - 1, -1, -1):
        if (text := _error(lines[number])) is not None:
            return [(number, text)]
    return []


def _error(line: str) -> str | None:
    """Return the text of `error: …`, of argparse's, or of a record of our servers' loggers."""
    if match := _ERROR.match(line):
        return match[1]
    if line.startswith("{"):
        try:
            record = json.loads(line)
            if record["level"] in ("ERROR", "CRITICAL"):
                return " ".join([record["message"], *record.get("exception", "").splitlines()[-1:]])
        except (ValueError, KeyError, TypeError):
            return None
    return None


def _exceptions(lines: Sequence[str]) -> list[tuple[int, str]]:
    """Return line number and text of the last exception, with what caused it."""
    starts = [
        number
        for number, line in enumerate(lines)
        if line.strip() == _TRACEBACK and not lines[max(0, number - 1)].startswith(_IGNORED)
    ]
    if lines and lines[0][:1].isspace():
        # The log's end begins in the middle of a traceback.
        starts.insert(0, -1)
    found: list[tuple[int, str]] = []
    for start in starts:
        first = start + 1
        while first < len(lines) and (not lines[first].strip() or lines[first][0].isspace()):
            first += 1
        if first < len(lines) and (start >= 0 or _EXCEPTION.match(lines[first])):
            found.append((first, _text(lines, first)))
    if not found:
        return []
    number, text = found[-1]
    if len(found) > 1 and _CAUSE in (line.strip() for line in lines[found[-2][0] : number]):
        text = f"{text} (caused by {found[-2][1]})"
    return [(number, text)]


def _text(lines: Sequence[str], first: int) -> str:
    """Return the exception whose text begins in line `first`, of several lines maybe."""
    text = [lines[first].strip()]
    for line in lines[first + 1 :]:
        if line.strip() in (_TRACEBACK, *_CHAINS) or _NOISE.match(line) or _AGENT.match(line):
            break
        text.append(line.strip())
    return " ".join(part for part in text[:_LINES] if part)


def _short(text: str) -> str:
    return text if len(text) <= _CHARACTERS else f"{text[: _CHARACTERS - 1]}…"
