"""Pulumi's lock on a stack: who holds it, and whether that process is still there."""

import re
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ..machine.processes import started_at

LOCKED = "the stack is currently locked by"
"""What the line of Pulumi's error says that comes before those of the locks."""
_HOLDER = re.compile(r": created by (.*)@(\S*) \(pid (\d+)\) at (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Lock:
    """What Pulumi says of a lock in a back end of files or of a bucket."""

    user: str
    host: str
    pid: int
    since: datetime

    def __str__(self) -> str:
        return (
            f"{self.user}@{self.host} (process {self.pid}, since {self.since:%Y-%m-%d %H:%M:%S %Z})"
        )

    def is_left_behind(self) -> bool:
        """Whether it is of this machine and its process has ended, as one that is killed does."""
        if sys.platform != "linux" or self.host != socket.gethostname():
            return False
        started = started_at(self.pid)
        # Pulumi cuts the fraction of a second off. A later process has got the same id.
        return started is None or started > self.since.timestamp() + 2


def read(said: str) -> Sequence[Lock]:
    """The locks that an error of Pulumi names."""
    if LOCKED not in said:
        return ()
    return [
        Lock(user, host, int(pid), datetime.fromisoformat(since))
        for user, host, pid, since in _HOLDER.findall(said)
    ]
