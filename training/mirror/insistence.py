"""Requests to a store that may be away for a while."""

import time
from collections.abc import Callable
from typing import TypeVar

from store.errors import StoreError

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 10.0

_Result = TypeVar("_Result")


def insist(action: Callable[[], _Result], *, give_up_after: float) -> _Result:
    """Return what `action` returns; while it fails, try again with growing pauses.

    Whatever the error is: a store that is started anew refuses credentials, too, until it has read
    who may do what. So `action` has to bear being done twice.

    Args:
        action: what is tried.
        give_up_after: seconds after which the last error is raised.
    """
    pause, began = _FIRST_PAUSE_SECONDS, time.monotonic()
    while True:
        try:
            return action()
        except (StoreError, OSError):
            if time.monotonic() - began + pause > give_up_after:
                raise
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
