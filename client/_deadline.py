"""The time one call may take in all, over whatever requests it needs."""

from __future__ import annotations

import time


class Deadline:
    """`seconds` from now on."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def allows(self, seconds: float) -> bool:
        """Return whether more than `seconds` are left."""
        return time.monotonic() + seconds < self._end

    def left(self) -> float:
        """Return the seconds that are left, above 0.

        Raises:
            TimeoutError: none are.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left
