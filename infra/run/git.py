"""The Git commit that a code folder comes from, where it comes from one."""

import subprocess
from collections.abc import Collection
from pathlib import Path

_DIRTY = "-dirty"
_SECONDS = 30


def commit(folder: Path, files: Collection[str]) -> str | None:
    """Return the commit that is checked out around `folder`, 40 hexadecimal digits or 64.

    With `-dirty` at the end if `files`, paths relative to the folder, are not just what the commit
    has there. None outside of a work tree, without a commit, or without Git.
    """
    head = _git(folder, "rev-parse", "--verify", "HEAD")
    prefix = _git(folder, "rev-parse", "--show-prefix")
    # Untracked and ignored files too: they are uploaded like the others.
    changes = _git(
        *(folder, "status", "--porcelain", "-z", "--no-renames"),
        *("--untracked-files=all", "--ignored=traditional", "--", "."),
    )
    if head is None or prefix is None or changes is None:
        return None
    dirty = False
    for entry in filter(None, changes.split("\0")):
        state, path = entry[:2], entry[3:].removeprefix(prefix.rstrip("\n"))
        dirty = dirty or state not in ("??", "!!") or path in files
    return head.strip() + _DIRTY * dirty


def _git(folder: Path, *words: str) -> str | None:
    """Return what a command of Git prints; None if it fails."""
    try:
        done = subprocess.run(
            # A preview is not the time to write to somebody's repository.
            ["git", "--no-optional-locks", "-C", str(folder), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
