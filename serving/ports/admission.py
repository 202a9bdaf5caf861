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
        with self._lock:
            if self._taken < self._most:
                self._taken += 1
                return
        raise ServingError(
            Code.UNAVAILABLE,
            f"{self._most} requests run or wait already, and --max_waiting_requests allows no "
            "more. Try again later.",
        )

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._taken -= 1
