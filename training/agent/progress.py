"""How far a run is, read from the lines that its boot file prints.

A line that begins with `step 300/1000` or `Epoch 3/10` says it (in any case, `of` for the stroke,
brackets or a colon around the numbers). Within an epoch Keras' bars say more, and so does a step
line that begins anew in each epoch.
"""

import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_STEP = re.compile(r"\s*(step|epoch)s?[\s:]*[\[(]?\s*(\d+)\s*(?:/|of)\s*(\d+)\b", re.IGNORECASE)
_BAR = re.compile(r"\s*(\d+)/(\d+)\s+(?:[━─]|\[[=>.]|- )")
"""Keras' bar within an epoch, as `verbose=1` and `verbose=2` print it: `45/235 ━━━━ 3s 12ms/step`.
"""
_LONGEST = 200
"""Characters of a line that are looked at: what counts is at its beginning."""
_POINTS = 64
_SHORTEST_SECONDS = 1.0
"""Of a shorter time nothing is concluded."""
_LONGEST_LEFT = 10 * 365 * 86400.0
"""Seconds: an end that is farther away is not told."""


@dataclass(frozen=True)
class Done:
    """How much is done, and when all of it will be."""

    done: float
    total: int
    unit: str
    """`steps` or `epochs`."""
    at: datetime
    """When it was so."""
    end: datetime | None
    """When all is done, if it goes on like this; None as long as nothing can be told."""


class Progress:
    """Sees the lines of one attempt. `now` may be called in another thread than `sees`.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._epoch: tuple[int, int] | None = None
        self._in_epoch = False
        """Whether a bar is one of the training."""
        self._step: tuple[int, int] | None = None
        self._steps_of_epochs = True
        """Whether step lines, beside those of epochs, count within an epoch."""
        self._points: deque[tuple[float, float]] = deque(maxlen=_POINTS)
        """Seconds and what was done then, of the last half of the attempt."""
        self._began = 0.0
        self._now: Done | None = None

    @property
    def now(self) -> Done | None:
        """How far it is; None if no line has said it."""
        return self._now

    def sees(self, line: str) -> bool:
        """Take a line of output; return whether it says how far the run is."""
        line = _COLOURS.sub("", line[:_LONGEST])
        if match := _STEP.match(line):
            found = self._counted(match[1].lower(), int(match[2]), int(match[3]))
        elif self._in_epoch and self._steps_of_epochs and (match := _BAR.match(line)):
            found = self._within_epoch(int(match[1]), int(match[2]))
            # What follows is of another bar: an evaluation's.
            self._in_epoch = match[1] != match[2]
        else:
            return False
        if found is not None:
            self._note(*found)
        return found is not None

    def _counted(self, what: str, number: int, total: int) -> tuple[float, int, str] | None:
        if not 0 <= number <= total or total == 0:
            return None
        if what == "epoch":
            self._epoch, self._in_epoch = (number, total), True
            # It is printed where the epoch begins, by Keras and most others.
            return (max(number - 1, 0), total, "epochs") if self._steps_of_epochs else None
        if self._epoch is None or not self._counts_within_epoch(number, total):
            self._step = (number, total)
            return number, total, "steps"
        return self._within_epoch(number, total)

    def _counts_within_epoch(self, number: int, total: int) -> bool:
        """Say whether a step line counts from 0 in each epoch, rather than through all of them."""
        assert self._epoch is not None
        epoch, epochs = self._epoch
        if self._step is not None and self._step[1] == total and number < self._step[0]:
            self._steps_of_epochs = True
        elif epoch > 1 and self._step is None and number / total > (epoch - 1) / epochs:
            # The first that is seen; in the first epoch nothing tells the two apart.
            self._steps_of_epochs = False
        return self._steps_of_epochs

    def _within_epoch(self, number: int, total: int) -> tuple[float, int, str] | None:
        assert self._epoch is not None
        if not 0 <= number <= total or total == 0:
            return None
        epoch, epochs = self._epoch
        return round(max(epoch - 1, 0) + number / total, 3), epochs, "epochs"

    def _note(self, done: float, total: int, unit: str) -> None:
        seconds = self._clock()
        before = self._now
        if before is None or (before.total, before.unit) != (total, unit) or done < before.done:
            # The first line, or another count: of a boot file that begins again, or of its next
            # part.
            self._points.clear()
            self._began = seconds
        self._points.append((seconds, done))
        # What was slow at the start, such as building a graph, is forgotten by and by.
        while len(self._points) > 2 and self._points[1][0] - self._began < (
            (seconds - self._began) / 2
        ):
            self._points.popleft()
        at = datetime.now(UTC)
        first_seconds, first_done = self._points[0]
        took, made = seconds - first_seconds, done - first_done
        end = None
        if took >= _SHORTEST_SECONDS and made > 0:
            left = (total - done) * took / made
            end = at + timedelta(seconds=left) if left < _LONGEST_LEFT else None
        self._now = Done(done, total, unit, at, end)
