"""What a resource that waits says meanwhile, and when it stops to wait."""

from ..cluster.messages import Trouble
from . import engine

LOOK_SECONDS = 3
"""How often to ask for a reason while nothing changes: each time it is four requests."""


class Waiting:
    """The troubles of one wait, each told once in the terminal of `pulumi up`."""

    def __init__(self, what: str) -> None:
        """Begin. `what` is it that is waited for: `The Deployment 'prediction'`."""
        self._what = what
        self._last: Trouble | None = None

    def sees(self, trouble: Trouble | None) -> bool:
        """Take what was seen now; return whether to go on waiting.

        What is hopeless has to be so twice: while things come up they also fail for a moment.
        """
        if trouble is None:
            self._last = None
            return True
        lasts = self._last is not None and self._last.hopeless and trouble.hopeless
        if self._last is None or self._last.reason != trouble.reason:
            engine.tell(f"{self._what} waits: {trouble}")
        self._last = trouble
        return not lasts

    @property
    def trouble(self) -> Trouble | None:
        """What was seen last."""
        return self._last
