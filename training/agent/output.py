"""A boot file's output as lines: what progress bars rewrite, too, and lines that never end."""

import re
import time
from collections.abc import Callable

LINE_BYTES = 64 * 1024
"""A longer line is passed on in parts: output without an end must not fill the memory."""

REWRITE_SECONDS = 0.5
"""Between two states of what is rewritten."""

_END = re.compile(rb"\r?\n|\r+(?!\n)|\x08+|\x1b\[[0-9;]*[A-HJKf]")
"""Ends a line: a line feed. Or begins it anew: a carriage return, backspaces, a moved cursor."""

_LONGEST_END = 16
"""Bytes of an end that may be cut in two."""


class OutputLines:
    r"""Cuts bytes into lines, each handed on with `\n` at its end.

    A line that ends with `\n` is handed on at once. Of one that a bar rewrites, its state is handed
    on twice a second at most, and the last one always. Bars of Keras and tqdm begin each state with
    a mark, and `\n` ends the last one. Others end each state with `\r`. Called in one thread.

    Args:
        write: gets each line.
        clock: seconds that only ever grow.
    """

    def __init__(
        self, write: Callable[[bytes], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._clock = clock
        self._rest = b""
        """What has no end yet."""
        self._rewriting = False
        self._marks_first = True
        """Whether each state begins with a mark."""
        self._state = b""
        """The newest state that has an end and was not handed on."""
        self._shown = b""
        """The state that was handed on last."""
        self._due = 0.0
        """When the next state may be handed on."""
        self._fed = 0.0

    def feed(self, data: bytes) -> None:
        """Take what was read."""
        self._fed = self._clock()
        text = self._rest + data
        # Whether this ends the line or begins it anew is told by the byte that follows.
        held = b"\r" if text.endswith(b"\r") else b""
        text = text[: len(text) - len(held)]
        start = 0
        for end in _END.finditer(text, max(0, len(self._rest) - _LONGEST_END)):
            self._end(text[start : end.start()], end[0])
            start = end.end()
        while len(text) - start > LINE_BYTES:
            self._hand_on(text[start : start + LINE_BYTES])
            start += LINE_BYTES
        self._rest = text[start:] + held
        if self._state and self._fed >= self._due:
            self._show(self._state)

    def wait_seconds(self) -> float | None:
        """Return for how long to wait for output before `idle` is called; None: for ever."""
        if not self._newest():
            return None
        return max(0.0, max(self._due, self._fed + REWRITE_SECONDS) - self._clock())

    def idle(self) -> None:
        """Hand on the newest state: no other has come for a while."""
        if state := self._newest():
            self._show(state)

    def finish(self) -> None:
        """Hand on what is left, at the end of the output."""
        rest, self._rest = self._rest.removesuffix(b"\r"), b""
        if rest:
            self._end(rest, b"\n")
        if self._state:
            self._show(self._state)

    def _newest(self) -> bytes:
        """Return the newest state that was not handed on, whether it has an end or not."""
        rest = self._rest.removesuffix(b"\r")
        if self._rewriting and rest.strip() and rest != self._shown:
            return rest
        return self._state

    def _end(self, text: bytes, end: bytes) -> None:
        if not end.endswith(b"\n"):
            if not self._rewriting:
                self._rewriting, self._marks_first = True, not text
            if text.strip() and text != self._shown:
                self._state = text
            return
        if self._rewriting:
            if not text:
                # A cursor on its way to another bar, or the end of what each `\r` ended.
                return
            if self._state and not self._marks_first and end == b"\n":
                self._show(self._state)
        if text != self._shown or not self._rewriting:
            self._hand_on(text)
        self._rewriting, self._state, self._shown = False, b"", b""

    def _show(self, state: bytes) -> None:
        self._hand_on(state)
        self._shown, self._state = state, b""
        self._due = self._clock() + REWRITE_SECONDS

    def _hand_on(self, text: bytes) -> None:
        for start in range(0, len(text) or 1, LINE_BYTES):
            self._write(text[start : start + LINE_BYTES] + b"\n")
