"""What a machine must be to host the embedded cluster."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..console import LocalError

_CAP_SYS_RESOURCE = 24  # linux/capability.h


class MachineError(LocalError):
    """The machine can't be a node, or not yet. A cluster of one's own is always another way."""

    def __init__(self, what: str, remedy: str = "") -> None:
        own = "Or bring a cluster of your own: set KUBECONFIG to its file."
        super().__init__(what, f"{remedy} {own}".strip())


def check_machine(command: str) -> None:
    """Refuse a machine that can't be a node, before anything is made.

    Args:
        command: that needs it, as `make` knows it.

    Raises:
        MachineError: it is not Linux, or this is not root.
    """
    if sys.platform != "linux":
        raise MachineError(f"the embedded cluster needs Linux, and this is {sys.platform}.")
    if os.geteuid() != 0:
        raise MachineError(
            f"the embedded cluster needs root, and this is user id {os.geteuid()}.",
            f"Run `sudo make {command}`.",
        )


def may_raise_limits() -> bool:
    """Whether this process has CAP_SYS_RESOURCE, which some machines take away."""
    status = Path("/proc/self/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> _CAP_SYS_RESOURCE & 1)
