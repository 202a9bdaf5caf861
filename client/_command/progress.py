"""How far a long command is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import shutil
import sys
import time
from typing import Self, TextIO

#: Seconds between two pictures of the bar, and before the first: most commands are over by then.
_REDRAW = 0.1
_FIRST = 1.0

#: Seconds between two lines where there is no terminal.
_LINE = 30.0

_WIDTH = 24


class Progress:
    """Shows on standard error how many examples are answered.

    Args:
        total: about how many there are; None: nobody knows.
        shown: whether it shows anything.
    """

    def __init__(self, total: int | None, *, shown: bool = True) -> None:
        self._stream: TextIO | None = sys.stderr if shown else None
        self._total = total
        self.done = 0
        self._started = self._told = time.monotonic()
        self._is_terminal = self._stream is not None and self._stream.isatty()
        self._drawn = False
        self._told += (_FIRST if self._is_terminal else _LINE) - self._pause

    @property
    def _pause(self) -> float:
        return _REDRAW if self._is_terminal else _LINE

    def step(self) -> None:
        """Count one more."""
        self.done += 1
        now = time.monotonic()
        if self._stream is None or now < self._told + self._pause:
            return
        self._told = now
        if self._is_terminal:
            columns = shutil.get_terminal_size().columns - 1
            print(f"\r{self._text(now, bar=True)[:columns]}\x1b[K", end="", file=self._stream)
            self._stream.flush()
            self._drawn = True
        else:
            print(self._text(now, bar=False), file=self._stream, flush=True)

    def hide(self) -> None:
        """Take the bar away, so that a line can be written in its place."""
        if self._drawn and self._stream is not None:
            print("\r\x1b[K", end="", file=self._stream, flush=True)
            self._drawn = False

    def _text(self, now: float, *, bar: bool) -> str:
        rate = self.done / max(now - self._started, 1e-3)
        if self._total is None or self.done > self._total:
            return f"{self.done:,} done, {rate:,.0f}/s"
        full = _WIDTH * self.done // max(self._total, 1)
        drawn = f" [{'#' * full}{' ' * (_WIDTH - full)}]" if bar else ","
        left = (self._total - self.done) / rate
        return f"{self.done:,} of {self._total:,}{drawn} {rate:,.0f}/s, {left:,.0f} s left"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.hide()
