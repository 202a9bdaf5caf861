"""A terminal's screen, as far as the commands of this repository use one (ECMA-48)."""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

_TOKEN = re.compile(
    r"\x1b\[([?<=>]?)([0-9;:]*)([@-~])"  # A control sequence,
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # a title and the like,
    r"|\x1b[ -/]*[0-Z\\^-~]"  # another escape,
    r"|[\x00-\x1a\x1c-\x1f\x7f]"  # a control character,
    r"|[^\x00-\x1f\x7f]+"  # or text.
)
_TAB = 8


class Style(NamedTuple):
    """How a character looks."""

    colour: int | None = None
    """0 to 15, as in the palette of 16 colours; None: the terminal's own."""
    bold: bool = False
    dim: bool = False
    underlined: bool = False


PLAIN = Style()


class Run(NamedTuple):
    """Characters side by side that look the same."""

    column: int
    text: str
    style: Style


@dataclass
class Screen:
    """What is to be seen after what was written."""

    columns: int
    rows: int
    _lines: list[list[tuple[str, Style]]] = field(init=False)
    _row: int = field(default=0, init=False)
    _column: int = field(default=0, init=False)
    _style: Style = field(default=PLAIN, init=False)
    _rest: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self._lines = [self._blank() for _ in range(self.rows)]

    def write(self, text: str) -> None:
        """Take what a program writes. An escape sequence may come in two pieces."""
        text = self._rest + text
        start = text.rfind("\x1b")
        whole = start < 0 or _TOKEN.match(text, start) is not None
        self._rest = "" if whole else text[start:]
        for match in _TOKEN.finditer(text if whole else text[:start]):
            token = match[0]
            if match[3]:
                self._control(match[1], match[2], match[3])
            elif token[0] >= " " and token[0] != "\x7f":
                self._print(token)
            elif token == "\n":
                self._next_line()
            elif token == "\r":
                self._column = 0
            elif token == "\b":
                self._column = max(0, self._column - 1)
            elif token == "\t":
                self._column = min(self.columns - 1, (self._column // _TAB + 1) * _TAB)

    def lines(self) -> tuple[tuple[Run, ...], ...]:
        """What each row shows, without the spaces at its end."""
        return tuple(_runs(line) for line in self._lines)

    def _blank(self) -> list[tuple[str, Style]]:
        return [(" ", PLAIN)] * self.columns

    def _print(self, text: str) -> None:
        for character in text:
            if self._column == self.columns:
                self._column = 0
                self._next_line()
            self._lines[self._row][self._column] = (character, self._style)
            self._column += 1

    def _next_line(self) -> None:
        if self._row == self.rows - 1:
            self._lines = [*self._lines[1:], self._blank()]
        else:
            self._row += 1

    def _control(self, private: str, parameters: str, final: str) -> None:
        numbers = [int(number or 0) for number in re.split("[;:]", parameters)]
        count = numbers[0] or 1
        if private:
            return
        if final == "m":
            self._look(numbers)
        elif final in "AF":
            self._row = max(0, self._row - count)
        elif final in "BE":
            self._row = min(self.rows - 1, self._row + count)
        elif final == "C":
            self._column = min(self.columns - 1, self._column + count)
        elif final == "D":
            self._column = max(0, min(self._column, self.columns - 1) - count)
        elif final == "G":
            self._column = min(self.columns, count) - 1
        elif final in "Hf":
            self._row = min(self.rows, count) - 1
            column = numbers[1] if len(numbers) > 1 else 1
            self._column = min(self.columns, column or 1) - 1
        elif final == "K":
            self._erase(self._row, numbers[0])
        elif final == "J":
            self._erase(self._row, numbers[0])
            below, above = range(self._row + 1, self.rows), range(self._row)
            for row in {0: [*below], 1: [*above]}.get(numbers[0], [*below, *above]):
                self._lines[row] = self._blank()
        if final in "EF":
            self._column = 0

    def _erase(self, row: int, which: int) -> None:
        column, line, blank = self._column, self._lines[row], self._blank()
        if which == 0:
            line[column:] = blank[column:]
        elif which == 1:
            line[: column + 1] = blank[: column + 1]
        else:
            line[:] = blank

    def _look(self, numbers: list[int]) -> None:
        rest = iter(numbers)
        for number in rest:
            if number == 0:
                self._style = PLAIN
            elif number == 1:
                self._style = self._style._replace(bold=True)
            elif number == 2:
                self._style = self._style._replace(dim=True)
            elif number == 4:
                self._style = self._style._replace(underlined=True)
            elif number == 22:
                self._style = self._style._replace(bold=False, dim=False)
            elif number == 24:
                self._style = self._style._replace(underlined=False)
            elif 30 <= number <= 37:
                self._style = self._style._replace(colour=number - 30)
            elif 90 <= number <= 97:
                self._style = self._style._replace(colour=number - 90 + 8)
            elif number == 39:
                self._style = self._style._replace(colour=None)
            elif number in (38, 48):
                colour = next(rest, 0) == 5 and next(rest, 0)
                if number == 38 and colour is not False and colour < 16:
                    self._style = self._style._replace(colour=colour)


def _runs(line: list[tuple[str, Style]]) -> tuple[Run, ...]:
    runs: list[Run] = []
    for column, (character, style) in enumerate(line):
        if runs and runs[-1].style == style:
            runs[-1] = runs[-1]._replace(text=runs[-1].text + character)
        else:
            runs.append(Run(column, character, style))
    stripped = [run._replace(text=run.text.rstrip()) for run in runs]
    return tuple(run for run in stripped if run.text)
