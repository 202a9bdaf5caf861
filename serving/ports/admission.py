"""The limit of the requests that a port has at the same time.

TensorFlow Serving lets requests pile up. Here requests above the limit are refused at once
(UNAVAILABLE), while their clients still wait and before the memory is full.
"""

from __future__ import annotations

from ..errors import Code, ServingError


class Admission:
    """Places for the requests of one event loop: `with` it, a request holds one.

    Args:
        most: requests that may run or wait at the same time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0

    def __enter__(self) -> None:
        """Take a place.

        Raises:
            ServingError: there is none left.
        """
        if self._taken >= self._most:
            raise ServingError(
                Code.UNAVAILABLE,
                f"{self._most} requests run or wait already, and --max_waiting_requests allows no "
                "more. Try again later.",
            )
        self._taken += 1

    def __exit__(self, *_: object) -> None:
        self._taken -= 1
