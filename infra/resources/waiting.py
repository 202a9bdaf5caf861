"""What a resource that waits says meanwhile, and when it stops to wait."""

import time

from ..cluster.api import NoAnswer
from ..cluster.messages import Trouble
from . import engine

LOOK_SECONDS = 3
"""How often to ask for a reason while nothing changes: each time it is four requests."""


class Waiting:
    """The troubles of one wait, each told once in the terminal of `pulumi up`."""

    def __init__(self, what: str, away_seconds: float) -> None:
        """Begin.

        Args:
            what: is waited for: `The Deployment 'prediction'`.
            away_seconds: how long the cluster may be unreachable.
        """
        self._what, self._away_seconds = what, away_seconds
        self._answered = time.monotonic()
        self._last: Trouble | None = None
        self._troubled: float | None = None

    def outlives(self, error: NoAnswer) -> None:
        """Wait a moment for a cluster that does not answer; raise `error` if it is too long."""
        if time.monotonic() - self._answered > self._away_seconds:
            raise error
        engine.pause(LOOK_SECONDS)

    def sees(self, trouble: Trouble | None) -> bool:
        """Take what was seen now; return whether to go on waiting.

        What is hopeless has to be so twice: while things come up they also fail for a moment.
        """
        self._answered = time.monotonic()
        if trouble is None:
            self._last = self._troubled = None
            return True
        if self._troubled is None:
            self._troubled = self._answered
        lasts = self._last is not None and self._last.hopeless and trouble.hopeless
        if self._last is None or self._last.reason != trouble.reason:
            engine.tell(f"{self._what} waits: {trouble}")
        self._last = trouble
        return not lasts

    @property
    def trouble(self) -> Trouble | None:
        """What was seen last."""
        return self._last

    @property
    def troubled_seconds(self) -> float:
        """For how long there has been one trouble or another without a break."""
        return 0.0 if self._troubled is None else self._answered - self._troubled
