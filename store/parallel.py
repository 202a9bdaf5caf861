"""Many requests at once: each costs a round trip, whether its object is large or small."""

import threading
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
