"""How much programs may watch of the file system, raised while a cluster runs.

The limits are each user's in the whole machine, and every Kubernetes beside ours needs many.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

from .cgroups import BOOT

ENOUGH = {"max_user_instances": 512, "max_user_watches": 65536}


@dataclass(frozen=True)
class Limits:
    settings: Path = Path("/proc/sys/fs/inotify")
    record: Path = Path("/run/dlstack-inotify")
    """What they were, for the last cluster of the machine that ends."""

    def raise_low(self) -> None:
        """Raise those that are low, where this may be done: a container's root may not."""
        before = {name: int((self.settings / name).read_text()) for name in ENOUGH}
        low = {name: value for name, value in before.items() if value < ENOUGH[name]}
        if not low:
            return
        self.record.write_text(json.dumps({"boot": BOOT.read_text(), **low}))
        for name in low:
            with contextlib.suppress(OSError):
                (self.settings / name).write_text(str(ENOUGH[name]))

    def restore(self) -> None:
        """Undo `raise_low`, unless somebody has set them to something else meanwhile."""
        try:
            before = json.loads(self.record.read_text())
        except (FileNotFoundError, ValueError):
            return
        if before.pop("boot") == BOOT.read_text():
            for name, value in before.items():
                if (self.settings / name).read_text().strip() == str(ENOUGH[name]):
                    (self.settings / name).write_text(str(value))
        self.record.unlink()
