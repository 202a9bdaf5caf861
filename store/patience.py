"""A store that does not answer yet, as one that is started together with who needs it."""

import time
from collections.abc import Callable
from typing import TypeVar

from store.errors import NotTrusted, StoreError, Unreachable

SECONDS = 60.0
"""How long a process waits after its start, unless a flag says otherwise."""
_PAUSE_SECONDS = 1.0
_SAY_SECONDS = 5.0

_Result = TypeVar("_Result")


class Patience:
    """For what a process asks of the store in its first seconds: asked again until these are over.

    Args:
        seconds: from now.
        say: takes a line, each few seconds while the store does not answer.
    """

    def __init__(self, seconds: float, say: Callable[[str], None]) -> None:
        self._until = time.monotonic() + seconds
        self._say = say
        self._said = -_SAY_SECONDS

    def ask(self, action: Callable[[], _Result]) -> _Result:
        """Return what `action` returns, which has to bear being done twice.

        Raises:
            StoreError: it can't be done, or the seconds are over. What a store refuses is not
                tried again: wrong credentials, no such bucket.
        """
        while True:
            try:
                return action()
            except StoreError as error:
                left = self._until - time.monotonic() - _PAUSE_SECONDS
                if left < 0 or not _may_pass(error):
                    raise
                if time.monotonic() - self._said >= _SAY_SECONDS:
                    self._said = time.monotonic()
                    self._say(f"{error} Trying again for {left:.0f} s.")
            time.sleep(_PAUSE_SECONDS)


def _may_pass(error: StoreError) -> bool:
    """Whether a store that is being started may answer so: not at all, or that it is not ready."""
    is_away = isinstance(error, Unreachable) and not isinstance(error, NotTrusted)
    return is_away or type(error) is StoreError
