"""What takes long is said while it takes long: a store that is slow, or accepts and is silent."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FIRST_SECONDS = 10.0
"""Until the first line. Each further one comes after twice the time."""
_LONGEST_SECONDS = 300.0


@contextmanager
def told(
    say: Callable[[str], None],
    sentence: Callable[[float], str],
    first_seconds: float = FIRST_SECONDS,
) -> Iterator[None]:
    """Say what the `with` block does, as long as it does it.

    Args:
        say: takes a line, in another thread.
        sentence: what is said after so many seconds.
        first_seconds: until the first line.
    """
    over = threading.Event()
    began = time.monotonic()

    def watch() -> None:
        pause = first_seconds
        while not over.wait(pause):
            say(sentence(time.monotonic() - began))
            pause = min(2 * pause, _LONGEST_SECONDS)

    watching = threading.Thread(target=watch, name="slowness", daemon=True)
    watching.start()
    try:
        yield
    finally:
        over.set()
