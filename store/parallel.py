"""Many requests at once: each costs a round trip, whether its object is large or small."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self, TypeVar

THREADS = 16
_AHEAD = 1024
"""So many items at most are waited for: results come in order, and one may take long."""

MEMORY_BYTES = 64 * 2**20
"""What all requests of a process hold of contents at the same time, however many there are."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_parallel(
    action: Callable[[_Item], _Result], items: Iterable[_Item], threads: int = THREADS
) -> list[_Result]:
    """Return `action` of each item, in their order, called from several threads.

    Of a generator, items are taken when their turn is near: there may be millions.

    The first error is raised, and what has not begun by then never does. What has begun is waited
    for: whoever cleans up after the error may remove the folder that it works on. Not so after a
    signal, which has to end the process soon.
    """
    errors: list[BaseException] = []

    def one(item: _Item) -> _Result:
        if errors:
            raise errors[0]
        try:
            return action(item)
        except BaseException as error:
            errors.append(error)
            raise

    pool = ThreadPoolExecutor(threads, thread_name_prefix="transfer")
    results: list[_Result] = []
    begun: deque[Future[_Result]] = deque()
    try:
        for item in items:
            begun.append(pool.submit(one, item))
            if len(begun) >= _AHEAD or errors:
                results.append(begun.popleft().result())
        results += [future.result() for future in begun]
    except BaseException as error:
        pool.shutdown(wait=isinstance(error, Exception), cancel_futures=True)
        raise
    pool.shutdown()
    return results


_changed = threading.Condition()
_free = MEMORY_BYTES


class Memory:
    """A part of `MEMORY_BYTES` for some contents, waited for until it is free.

    Who has one must not wait for another one before the first is released.
    """

    def __init__(self, size: int, unless: Callable[[], bool] = lambda: False) -> None:
        """Wait.

        Args:
            size: bytes. Above `MEMORY_BYTES` one is alone.
            unless: says, whenever some is released, that it is not wanted any more.
        """
        global _free
        self._size = min(size, MEMORY_BYTES)
        with _changed:
            _changed.wait_for(lambda: _free >= self._size or unless())
            if _free < self._size:
                self._size = 0
            _free -= self._size

    def release(self) -> None:
        """Give it back, once."""
        global _free
        with _changed:
            _free, self._size = _free + self._size, 0
            _changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


_FAST_SECONDS, _SLOW_SECONDS = 5.0, 15.0
"""A request that sends takes less on a quick way, and more on a slow one."""
_FIRST_LANES = 4

_lane_is_free = threading.Condition()
_lanes, _sending = _FIRST_LANES, 0


class Lane:
    """A turn to send something: on a slow way fewer requests share it.

    Of sixteen that share 200 kB/s each would have 12: what is on its way when the last byte is
    written takes longer than anybody waits for an answer, and then all of it is sent again. On a
    quick way there are soon as many as there are threads.
    """

    def __enter__(self) -> Self:
        global _sending
        with _lane_is_free:
            _lane_is_free.wait_for(lambda: _sending < _lanes)
            _sending += 1
        self._began = time.monotonic()
        return self

    def __exit__(self, error: object, *_: object) -> None:
        global _lanes, _sending
        seconds = time.monotonic() - self._began
        with _lane_is_free:
            _sending -= 1
            if seconds > _SLOW_SECONDS:
                _lanes = max(1, _lanes // 2)
            elif error is None and seconds < _FAST_SECONDS:
                _lanes = min(THREADS, _lanes + 1)
            _lane_is_free.notify_all()
