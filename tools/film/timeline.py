"""From a recording to what the film shows, and when. Long waits are cut; the clock tells them."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .recording import Recording
from .screen import Run, Screen

PROMPT = "\x1b[1;32m$\x1b[0m "
_LETTER_SECONDS = 0.09
_MERGED_SECONDS = 0.06
"""What comes within this time is one picture."""
_TICK_SECONDS = 0.15
"""Between two states of the clock, in the film, and the least that a picture is shown."""


class Moment(NamedTuple):
    """One picture of the terminal."""

    seconds: float
    """How long the film shows it."""
    clock: float | None
    """True seconds since the command was called; None: before."""
    lines: tuple[tuple[Run, ...], ...]


def moments(recording: Recording, command: str, film_seconds: float) -> list[Moment]:
    """Return the pictures of a command that is typed and run.

    Args:
        recording: of the command.
        command: as it is typed.
        film_seconds: how long its run takes in the film: no wait is longer than this allows.
    """
    found = []
    for length in range(len(command) + 1):
        screen = Screen(recording.columns, recording.rows)
        screen.write(PROMPT + command[:length])
        long = length in (0, len(command))
        found.append(Moment(0.6 if long else _LETTER_SECONDS, None, screen.lines()))
    screen.write("\r\n")
    states = list(_states(recording, screen))
    ends = [at for at, _ in states[1:]] + [max(recording.seconds, states[-1][0])]
    longest = _longest([end - at for (at, _), end in zip(states, ends, strict=True)], film_seconds)
    passed = 0.0
    for (at, lines), end in zip(states, ends, strict=True):
        shown = passed + min(end - at, longest)
        if shown < _TICK_SECONDS and end != ends[-1]:
            # Too short to be seen: its time is the next one's.
            passed = shown
            continue
        passed = 0.0
        ticks = max(1, round(shown / _TICK_SECONDS))
        for tick in range(ticks):
            clock = at + (end - at) * (tick + 1) / ticks
            found.append(Moment(shown / ticks, clock, lines))
    return found


def _states(
    recording: Recording, screen: Screen
) -> Iterator[tuple[float, tuple[tuple[Run, ...], ...]]]:
    """Yield what is to be seen, and since when."""
    at, lines = 0.0, screen.lines()
    for seconds, text in recording.output:
        if seconds - at > _MERGED_SECONDS:
            seen = screen.lines()
            if seen != lines or at == 0.0:
                yield at, seen
                lines = seen
            at = seconds
        screen.write(text)
    yield at, screen.lines()


def _longest(waits: Sequence[float], together: float) -> float:
    """Return to what the waits have to be cut for them to take `together` seconds."""
    left, remaining = together, sorted(waits)
    for number, wait in enumerate(remaining):
        share = left / (len(remaining) - number)
        if wait >= share:
            return share
        left -= wait
    return max(waits)
