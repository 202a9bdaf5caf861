"""Patterns of `.gitignore`, asked for one path after the other from a folder downwards.

As gitignore(5) and Git's dir.c and wildmatch.c have it. A path below a folder that is left out is
not asked for, so a pattern is matched with the path itself only. (The library pathspec matches it
with what lies below, too, so that `!*/` takes all files along.)
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "\\x21-\\x7e",
    "lower": "a-z",
    "print": "\\x20-\\x7e",
    "punct": "!-/:-@\\[-`{-~",
    "space": " \\t\\n\\r\\f\\v",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


@dataclass(frozen=True)
class _Rule:
    expression: re.Pattern[str]
    taken_along: bool
    """It begins with `!`."""
    folders_only: bool
    of_names: bool
    """It has no slash: it is matched with the last part of a path."""


class Rules:
    """The lines of one file."""

    def __init__(self, text: str) -> None:
        """Read them.

        Raises:
            ValueError: a line can never match anything. It quotes the line.
        """
        self._rules = list(_rules(text))

    def left_out(self, path: str, folder: bool) -> bool | None:
        """Say whether a path, relative to the file's folder, is left out; None: no line is of it.

        Args:
            path: with `/` between its parts, and none at its end.
            folder: it is that of a folder.
        """
        name = path.rpartition("/")[2]
        # The last line that is of it counts.
        for rule in reversed(self._rules):
            if rule.folders_only and not folder:
                continue
            if rule.expression.fullmatch(name if rule.of_names else path):
                return not rule.taken_along
        return None


def _rules(text: str) -> Iterator[_Rule]:
    for number, line in enumerate(text.split("\n"), 1):
        # Spaces at the end count only behind a backslash.
        pattern = re.sub(r"(?<!\\) +$", "", line.removesuffix("\r"))
        if not pattern or pattern.startswith("#"):
            continue
        taken_along = pattern.startswith("!")
        body = pattern[taken_along:]
        folders_only = body.endswith("/")
        body = body.removesuffix("/")
        try:
            if not body:
                raise ValueError
            yield _Rule(
                re.compile(_Translation(body.removeprefix("/"), "/" in body).expression, re.DOTALL),
                taken_along,
                folders_only,
                of_names="/" not in body,
            )
        except (ValueError, IndexError):
            raise ValueError(f"line {number}, {line!r}, can never match anything") from None


class _Translation:
    """A pattern as a regular expression. ValueError, IndexError: it ends too early."""

    def __init__(self, pattern: str, of_paths: bool) -> None:
        self._pattern = pattern
        self._of_paths = of_paths
        self._at = 0

    @cached_property
    def expression(self) -> str:
        return "".join(self._parts())

    def _parts(self) -> Iterator[str]:
        while self._at < len(self._pattern):
            character = self._next()
            if character == "*":
                yield self._stars()
            elif character == "?":
                yield "[^/]"
            elif character == "[":
                yield self._bracket()
            else:
                yield re.escape(self._next() if character == "\\" else character)

    def _next(self) -> str:
        self._at += 1
        return self._pattern[self._at - 1]

    def _stars(self) -> str:
        begin = self._at - 1
        while self._pattern[self._at : self._at + 1] == "*":
            self._at += 1
        before = self._pattern[begin - 1] if begin else "/"
        after = self._pattern[self._at : self._at + 1]
        whole = self._at - begin > 1 and before == "/" and after in ("", "/")
        if not (whole and self._of_paths):
            return "[^/]*"
        if not after:
            return ".*"
        self._at += 1
        return "(?:.*/)?"

    def _bracket(self) -> str:
        negated = self._pattern[self._at : self._at + 1] in ("!", "^")
        self._at += negated
        parts: list[str] = []
        character = self._next()
        while True:
            if character == "[" and self._pattern[self._at : self._at + 1] == ":":
                end = self._pattern.index(":]", self._at + 1)
                name = self._pattern[self._at + 1 : end]
                if name not in _CLASSES:
                    raise ValueError
                parts.append(_CLASSES[name])
                self._at = end + 2
            else:
                first = last = self._next() if character == "\\" else character
                if self._pattern[self._at : self._at + 1] == "-" and not self._ends_at(
                    self._at + 1
                ):
                    self._at += 1
                    last = self._next()
                    last = self._next() if last == "\\" else last
                if first <= last:
                    parts.append(f"{re.escape(first)}-{re.escape(last)}")
            character = self._next()
            if character == "]":
                break
        inside = "".join(parts)
        if negated:
            return f"[^/{inside}]"
        # No slash, whatever a range spans.
        return f"(?!/)[{inside}]" if inside else "(?!)"

    def _ends_at(self, at: int) -> bool:
        return self._pattern[at : at + 1] in ("", "]")
