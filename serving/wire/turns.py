"""Long work, cut into pieces of a millisecond or two, that lets short work through in between."""

from __future__ import annotations

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
