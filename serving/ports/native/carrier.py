"""What the requests of one port share."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from ...budget import Budget
from ...models.registry import Models
from ..admission import Admission
from .link import Link
from .workers import Workers


class Caller(NamedTuple):
    """Who waits for an answer."""

    id: int
    """Of the request."""
    deadline: float
    """By `time.monotonic`; infinite without a limit."""


class Carrier:
    """What the requests of one port share.

    Args:
        link: takes the answers.
        models: what is served.
        admission: places for all of them.
        budget: of the memory for all requests of the server.
        workers: do what is long, and run what isn't batched.
        under_way: requests by id, of all ports.

    Attributes:
        read: exchanges that have been read and are to run.
    """

    def __init__(
        self,
        link: Link,
        models: Models,
        admission: Admission,
        budget: Budget,
        workers: Workers,
        under_way: dict[int, Any],
    ) -> None:
        self.link = link
        self.models = models
        self.admission = admission
        self.budget = budget
        self.workers = workers
        self.under_way = under_way
        self.read: deque[Any] = deque()
