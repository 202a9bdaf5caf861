"""How many nodes a cluster has, and is to have."""

from __future__ import annotations

import os
from pathlib import Path

from .console import LocalError
from .durable import settle

VARIABLE = "NODES"
MOST = 9
"""The number of a node is one character of its interface's name."""
_FILE = "node-count"


def asked() -> int | None:
    """How many nodes the environment asks for; None if it does not.

    Raises:
        LocalError: it asks for what can't be.
    """
    text = os.environ.get(VARIABLE, "")
    if not text:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise LocalError(
            f"{VARIABLE} is '{text}'.", f"Set it to a number of nodes from 1 to {MOST}."
        )
    return int(text)


def count(folder: Path) -> int:
    """How many nodes the cluster in `folder` has, as it was last told."""
    try:
        return int((folder / _FILE).read_text())
    except (FileNotFoundError, ValueError):
        return 1


def keep(folder: Path, number: int) -> None:
    """Note down how many nodes the cluster in `folder` has."""
    if count(folder) != number:
        unfinished = (folder / _FILE).with_suffix(".new")
        unfinished.write_text(f"{number}\n")
        settle(unfinished, folder / _FILE)
