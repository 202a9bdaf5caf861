"""Objects that are put again and again while something relies on them: whoever prunes leaves alone
what is young, and an upload may take longer than that.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from store.errors import StoreError

YOUNG = timedelta(days=2)
"""What was put later than this may be of an upload whose Job is not there yet."""
_AGAIN_SECONDS = 3600.0
_MOST_SECONDS = YOUNG.total_seconds() / 2
"""Who did not put it for so long, as on a machine that slept, can't know what is still there."""


@contextmanager
def kept_young(put: Callable[[], object]) -> Iterator[Callable[[], bool]]:
    """Put something at once, and each hour as long as the `with` block lasts.

    Args:
        put: puts it, in another thread from the second time on. A store that is away meanwhile is
            asked again an hour later.

    Yields:
        Says whether it has been young all the time until now.
    """
    over, lock = threading.Event(), threading.Lock()
    # Not the monotonic clock, which stands still while a machine sleeps.
    last, always = time.time(), True

    def look(*, was_put: bool) -> bool:
        nonlocal last, always
        with lock:
            now = time.time()
            always = always and now - last < _MOST_SECONDS
            last = now if was_put else last
            return always

    def again() -> None:
        while not over.wait(_AGAIN_SECONDS):
            with contextlib.suppress(StoreError):
                put()
                look(was_put=True)

    put()
    thread = threading.Thread(target=again, name="kept-young", daemon=True)
    thread.start()
    try:
        yield lambda: look(was_put=False)
    finally:
        over.set()
