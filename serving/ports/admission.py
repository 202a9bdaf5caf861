"""The limit of the requests that a port has at the same time.

TensorFlow Serving lets requests pile up. Here requests above the limit are refused at once
(UNAVAILABLE), while their clients still wait and before the memory is full.
"""

from __future__ import annotations

import threading

from ..errors import Code, ServingError


class Admission:
    """Places for the requests of one port: `with` it, a request holds one. For any thread.

    Args:
        most: requests that may run or wait at the same time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        """Take a place.

        Raises:
            ServingError: there is none left.
        """
        if not self.take(1):
            raise self.refusal()

    def __exit__(self, *_: object) -> None:
        self.give_back(1)

    def take(self, count: int) -> int:
        """Take so many places, or those that are left; return how many."""
        with self._lock:
            count = min(count, self._most - self._taken)
            self._taken += count
        return count

    def give_back(self, count: int) -> None:
        """Give so many places back."""
        with self._lock:
            self._taken -= count

    def refusal(self) -> ServingError:
        """Return what whoever gets no place is told."""
        return ServingError(
            Code.UNAVAILABLE,
            f"{self._most} requests run or wait already, and the server takes no more "
            "(--max_waiting_requests). Try again later.",
        )
