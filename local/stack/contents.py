"""What goes with a stack that is taken down, asked of `python -m infra`."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..home import REPOSITORY
from ..person import as_person


@dataclass(frozen=True)
class Contents:
    """What a stack keeps. None: it could not be asked."""

    model: str
    versions: int | None
    """Published ones of `model`."""
    runs: int | None
    """Training runs that left a log, of any model."""
    in_stack: bool
    """Whether the stack's own store has them, on a volume of the cluster."""

    def has_models(self) -> bool:
        """Whether something may be lost that a training has made."""
        return self.versions != 0 or self.runs != 0

    def lines(self) -> list[str]:
        """What is deleted, one line for each kind."""
        if self.versions is None or self.runs is None:
            kept = "its models and runs, which can't be counted: its store does not answer"
        else:
            kept = (
                f"{_count(self.versions, 'version')} of the model '{self.model}', "
                f"{_count(self.runs, 'training run')} with logs and checkpoints"
            )
        if self.in_stack:
            return [kept, "the volume of its object store, where these are"]
        return [f"{kept}: in a store of yours, where they stay unless dlstack:forceDestroy is set"]


def read(variables: Mapping[str, str], patience_seconds: float = 0) -> Contents:
    """Ask the stack that the variables name.

    Args:
        patience_seconds: how long its store may take to answer, as after the cluster's start.
    """
    until = time.monotonic() + patience_seconds
    while True:
        found = _read(variables)
        if found.versions is not None or time.monotonic() > until:
            return found


def _read(variables: Mapping[str, str]) -> Contents:
    status, runs = _ask("status", variables), _ask("runs", variables)
    if status is None:
        return Contents("", None, None, True)
    versions = status["versions"]
    return Contents(
        model=status["model"],
        versions=None if versions is None else len(versions),
        runs=None if runs is None else len(runs["runs"]),
        in_stack="object-store" in status["services"],
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _ask(command: str, variables: Mapping[str, str]) -> dict[str, Any] | None:
    done = subprocess.run(
        [sys.executable, "-m", "infra", command, "--json"],
        cwd=REPOSITORY,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        **as_person(),
    )
    answer: dict[str, Any] | None = json.loads(done.stdout) if done.stdout else None
    return answer
