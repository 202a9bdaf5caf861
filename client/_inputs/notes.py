"""What the user should know of a call, told once."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from ..errors import PredictionWarning


class Notes:
    """Tells each text once: to a function, or as a `PredictionWarning`."""

    def __init__(self, tell: Callable[[str], None] | None) -> None:
        self._tell = tell
        self._told: set[str] = set()

    def __call__(self, text: str, kind: str = "") -> None:
        """Tell a text, unless it was told, or with a `kind` one of that kind."""
        if (kind or text) in self._told:
            return
        self._told.add(kind or text)
        if self._tell is not None:
            self._tell(text)
        else:
            # The caller of the library stands behind a generator: no level is always right.
            warnings.warn(text, PredictionWarning, stacklevel=2)
