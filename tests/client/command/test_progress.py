"""What shows how far a long command is, on a terminal and in a log."""

from __future__ import annotations

import io

import pytest

from client._command import progress
from client._command.progress import Progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal, or not."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds of a clock that only the test moves."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def shown(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, total: int | None, *, is_terminal: bool
) -> str:
    """Return what 40 steps, one each second, write."""
    stream = Terminal(is_terminal=is_terminal)
    monkeypatch.setattr("sys.stderr", stream)
    with Progress(total) as bar:
        for _ in range(40):
            clock[0] += 1
            bar.step()
    return stream.getvalue()


def test_on_a_terminal_a_bar_is_drawn_and_taken_away(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    pictures = shown(clock, monkeypatch, 80, is_terminal=True).split("\r")
    assert pictures[20] == "20 of 80 [######                  ] 1/s, 60 s left\x1b[K"
    assert pictures[-1] == "\x1b[K"


def test_what_is_over_soon_shows_nothing(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", Terminal(is_terminal=True))
    with Progress(1000) as bar:
        for _ in range(900):
            clock[0] += 0.001
            bar.step()
    assert progress.sys.stderr.getvalue() == ""  # type: ignore[attr-defined]


def test_in_a_log_there_is_a_line_now_and_then(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shown(clock, monkeypatch, 80, is_terminal=False) == "30 of 80, 1/s, 50 s left\n"
    assert shown(clock, monkeypatch, None, is_terminal=False) == "30 done, 1/s\n"
    assert shown(clock, monkeypatch, 10, is_terminal=False) == "30 done, 1/s\n"
