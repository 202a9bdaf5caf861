"""How long the parts of a run take."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Phases:
    """Wall-clock seconds of each phase; `note` is told of each at its end."""

    note: Callable[[str, float], None]
    seconds: dict[str, float] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)

    def end(self, name: str) -> float:
        now = time.monotonic()
        self.seconds[name] = round(now - self._began, 3)
        self._began = now
        self.note(name, self.seconds[name])
        return self.seconds[name]
