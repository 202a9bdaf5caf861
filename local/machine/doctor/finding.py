"""What an examination says: one finding for each thing that it looked at."""

from __future__ import annotations

from dataclasses import dataclass

OK = "ok"
WARNING = "warning"
"""Something will not work, or not for long; the cluster starts."""
PROBLEM = "problem"
"""The cluster can't start or can't work."""


@dataclass(frozen=True)
class Finding:
    """One thing of the machine."""

    name: str
    found: str
    """What is there, without a full stop."""
    state: str = OK
    cure: str = ""
    """What to do, as a sentence; empty if the state is ok."""

    @property
    def sentence(self) -> str:
        return f"{self.name}: {self.found}. {self.cure}".strip()


def ok(name: str, found: str) -> Finding:
    return Finding(name, found)


def warning(name: str, found: str, cure: str) -> Finding:
    return Finding(name, found, WARNING, cure)


def problem(name: str, found: str, cure: str) -> Finding:
    return Finding(name, found, PROBLEM, cure)
