"""Waiting for a condition: tests never sleep for a time that should be enough."""

import time
from collections.abc import Callable
from typing import Any


def eventually(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait until a condition holds and return it.

    What takes long to look at, as a process of its own does, is looked at less often: whoever is
    waited for needs the machine more.
    """
    deadline = time.monotonic() + seconds
    while True:
        looked = time.monotonic()
        if result := condition():
            return result
        now = time.monotonic()
        assert now < deadline, "still not true"
        time.sleep(min(max(0.02, 2 * (now - looked)), 1))
