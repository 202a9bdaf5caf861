"""A store that does not answer: as one that is started together with who needs it, or is away."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from store.errors import NotTrusted, NoUpload, StoreError, Unreachable

SECONDS = 60.0
"""How long a process waits after its start, unless a flag says otherwise."""
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 10.0
"""Between two tries. A store that comes back is noticed within this time."""
_FIRST_SAY_SECONDS = 5.0
_LAST_SAY_SECONDS = 300.0
"""Between two lines: each is twice as long after the one before, up to this."""

_Result = TypeVar("_Result")


class Patience:
    """Asks a store again that does not answer, until the time is over. Threads may share it.

    Args:
        seconds: from now.
        say: takes a line: at once when the store does not answer, then ever more rarely, and when
            it answers again.
        refused_seconds: for how long what the store refuses is tried again, too, and what a local
            file refuses: from the first refusal of one action. A store that is started anew
            refuses credentials until it has read who may do what, and a full one is made room in.
    """

    def __init__(
        self, seconds: float, say: Callable[[str], None], *, refused_seconds: float = 0.0
    ) -> None:
        self._until: float | None = time.monotonic() + seconds
        self._seconds = seconds
        self._say = say
        self._refused_seconds = refused_seconds
        self._lock = threading.Lock()
        self._away_since: float | None = None
        self._next_said = 0.0
        self._said_every = _FIRST_SAY_SECONDS

    @classmethod
    def each_time(
        cls, seconds: float, say: Callable[[str], None], *, refused_seconds: float = 0.0
    ) -> "Patience":
        """Return one with so many seconds for each action, instead of from now."""
        found = cls(seconds, say, refused_seconds=refused_seconds)
        found._until = None
        return found

    def ask(
        self, action: Callable[[], _Result], wait: Callable[[float], object] = time.sleep
    ) -> _Result:
        """Return what `action` returns, which has to bear being done twice.

        Args:
            action: what is asked.
            wait: waits for so many seconds between two tries, or less.

        Raises:
            StoreError: it can't be done, or the seconds are over. What a store refuses is not
                tried again but for `refused_seconds`: wrong credentials, no such bucket.
            OSError: of a local file, the same.
        """
        pause, began = _FIRST_PAUSE_SECONDS, time.monotonic()
        refused_since: float | None = None
        while True:
            try:
                result = action()
            except (StoreError, OSError) as error:
                now = time.monotonic()
                until = began + self._seconds if self._until is None else self._until
                if not may_pass(error):
                    refused_since = now if refused_since is None else refused_since
                    until = min(until, refused_since + self._refused_seconds)
                if now + pause > until:
                    raise
                self._tell(error, until - now)
            else:
                self._answered()
                return result
            wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _tell(self, error: Exception, left: float) -> None:
        now = time.monotonic()
        with self._lock:
            if self._away_since is None:
                self._away_since, self._next_said = now, now
                self._said_every = _FIRST_SAY_SECONDS
            if now < self._next_said:
                return
            self._next_said = now + self._said_every
            self._said_every = min(2 * self._said_every, _LAST_SAY_SECONDS)
        self._say(f"{error} Trying again for {_duration(left)}.")

    def _answered(self) -> None:
        with self._lock:
            since, self._away_since = self._away_since, None
        if since is not None:
            self._say(f"The object store answers again, after {time.monotonic() - since:.0f} s.")


def may_pass(error: Exception) -> bool:
    """Whether a store that is being started may answer so: not at all, or that it is not ready."""
    is_away = isinstance(error, Unreachable) and not isinstance(error, NotTrusted)
    return is_away or type(error) in (StoreError, NoUpload)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
