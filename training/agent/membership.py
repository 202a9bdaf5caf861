"""Which of a run's workers this agent is, from its flags and Kubernetes' variable."""

import os
from dataclasses import dataclass

from training.command_line import TrainingError

INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
"""Set by Kubernetes in each pod of an Indexed Job."""


@dataclass(frozen=True)
class Membership:
    """Which of how many workers this is, and where worker 0 is found."""

    count: int
    index: int
    chief_host: str
    chief_port: int

    @classmethod
    def of(cls, count: int, chief: str) -> "Membership | None":
        """Read flags and environment; None for a single worker. Raises TrainingError."""
        if count == 1:
            return None
        host, _, port = chief.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise TrainingError(f"--chief={chief!r} is not an address. Give it as host:port.")
        text = os.environ.get(INDEX_VARIABLE, "")
        if not text.isdecimal() or int(text) >= count:
            raise TrainingError(
                f"{INDEX_VARIABLE} is {text!r}. Set it to this worker's number, 0 to {count - 1}."
            )
        return cls(count, int(text), host, int(port))
