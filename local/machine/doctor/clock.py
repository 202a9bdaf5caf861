"""The clock: against this release, the cluster's own files, and a server's time."""

from __future__ import annotations

import calendar
import time
from collections.abc import Iterator

from .facts import Machine, Needs
from .finding import Finding, ok, problem

EARLIEST = calendar.timegm((2026, 1, 1, 0, 0, 0))
"""This version is younger, and so are its certificates."""
TOLERATED = 300
"""Seconds: new certificates are valid for as long before now, and no registry is that exact."""
_CURE = "Set the clock: `timedatectl set-ntp true`, or `date --set '…'`"


def examine(machine: Machine, needs: Needs) -> Iterator[Finding]:
    now = machine.now()
    if now < EARLIEST:
        yield problem("clock", f"it says {shown(now)}", f"{_CURE}.")
        return
    try:
        made = machine.path(needs.home / "platform" / "pki" / "ca.crt").stat().st_mtime
    except OSError:
        return
    if made > now + TOLERATED:
        yield problem(
            "clock",
            f"it says {shown(now)}, and the cluster's certificates were made at {shown(made)}",
            f"{_CURE}.",
        )


def against(machine: Machine, said: dict[str, float]) -> Iterator[Finding]:
    """Compare it with what servers said just now (seconds since the epoch by host)."""
    now = machine.now()
    if now < EARLIEST or not said:
        return
    host, theirs = min(said.items(), key=lambda item: abs(item[1] - now))
    if abs(theirs - now) > TOLERATED:
        yield problem(
            "clock", f"it says {shown(now)}, and {host} says {shown(theirs)}", f"{_CURE}."
        )
    else:
        yield ok("clock", f"{shown(now)}, as {host} says")


def shown(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
