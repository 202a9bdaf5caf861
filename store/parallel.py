"""Many requests at once: each costs a round trip, whether its object is large or small."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

THREADS = 16

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_parallel(action: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """Return `action` of each item, in their order, called from several threads.

    The first error is raised, and what has not begun by then never does. What has begun is waited
    for: whoever cleans up after the error may remove the folder that it works on. Not so after a
    signal, which has to end the process soon.
    """
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="transfer")
    try:
        futures = [pool.submit(action, item) for item in items]
        results = [future.result() for future in futures]
    except BaseException as error:
        pool.shutdown(wait=isinstance(error, Exception), cancel_futures=True)
        raise
    pool.shutdown()
    return results
