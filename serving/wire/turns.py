"""Long work, cut into pieces of a millisecond or two, that lets short work through in between."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_turn = threading.Lock()


@contextmanager
def piece() -> Iterator[None]:
    """Do a piece while no other thread does one, then give the GIL up.

    However many long requests there are, short ones wait for one piece.
    """
    with _turn:
        yield
    time.sleep(0)


_pauses = 0
_pausing = threading.Lock()


def pause_collector(by: int) -> None:
    """Pause the garbage collector for one more thread (1), or for one less (-1).

    Whoever makes a million objects pauses it: it would look at all of them again and again, which
    holds up all threads for 0.2 s each time.
    """
    global _pauses
    with _pausing:
        _pauses += by
        if _pauses:
            gc.disable()
        else:
            gc.enable()
