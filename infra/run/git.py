"""The Git commit that a code folder comes from, and what Git has left out of the folder."""

import os
import subprocess
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

_DIRTY = "-dirty"
_SECONDS = 30
_LINK = "120000"
_SUBMODULE = "160000"
_SPARSE = "S"


@dataclass(frozen=True)
class _Entry:
    """What the commit has below a folder."""

    path: str
    mode: str
    there: bool
    """False in a sparse checkout that leaves it out."""


def commit(folder: Path, files: Collection[str]) -> str | None:
    """Return the commit that is checked out around `folder`, 40 hexadecimal digits or 64.

    With `-dirty` at the end if `files`, paths relative to the folder, are not just what the commit
    has there. None outside of a work tree, without a commit, or without Git.
    """
    head = _git(folder, "rev-parse", "--verify", "HEAD")
    prefix = _git(folder, "rev-parse", "--show-prefix")
    changes = _git(
        *(folder, "status", "--porcelain", "-z", "--no-renames"),
        *("--untracked-files=normal", "--ignore-submodules=none", "--", "."),
    )
    if head is None or prefix is None or changes is None:
        return None
    changed = {
        entry[3:].removeprefix(prefix.rstrip("\n")).rstrip("/")
        for entry in changes.split("\0")
        # Who is not of the commit is found among the files.
        if entry and entry[:2] != "??"
    }
    dirty = _differs(folder, set(files), changed, list(_entries(folder)))
    return head.strip() + _DIRTY * dirty


def _differs(folder: Path, files: set[str], changed: set[str], entries: list[_Entry]) -> bool:
    """Say whether `files` are anything but what the commit has."""
    submodules = {entry.path for entry in entries if entry.mode == _SUBMODULE}
    if changed & submodules or not all(entry.there for entry in entries):
        return True
    # A changed file that lies there and is not sent is left out by a rule.
    if any(_sent_as(path) in files or not (folder / path).exists() for path in changed):
        return True
    committed = {_sent_as(entry.path) for entry in entries if entry.mode != _LINK}
    real = os.path.realpath(folder)
    for path in files - committed:
        if any(path.startswith(f"{submodule}/") for submodule in submodules):
            continue
        # Through a link: as the commit has it, if it leads to what the commit has.
        target = os.path.relpath(os.path.realpath(folder / path), real)
        if _sent_as(Path(target).as_posix()) not in committed:
            return True
    return False


def is_submodule(folder: Path) -> bool:
    """Say whether Git knows a folder as a submodule."""
    entries = _entries(folder.parent, folder.name)
    return any(entry.mode == _SUBMODULE for entry in entries)


def links_as_files(folder: Path, files: Collection[str]) -> list[str]:
    """Return those of `files` that are links in Git, but text files with the link's target here.

    So Git checks them out where `core.symlinks` is false, as it usually is on Windows.
    """
    return [
        entry.path
        for entry in _entries(folder)
        if entry.mode == _LINK and entry.path in files and not (folder / entry.path).is_symlink()
    ]


def _entries(folder: Path, path: str = ".") -> Iterator[_Entry]:
    listed = _git(folder, "ls-files", "-z", "-t", "--stage", "--", path) or ""
    for line in filter(None, listed.split("\0")):
        told, _, name = line.partition("\t")
        tag, mode = told.split()[:2]
        yield _Entry(name, mode, tag != _SPARSE)


def _sent_as(path: str) -> str:
    """Return how a path of the commit is spelled when it is sent."""
    return unicodedata.normalize("NFC", path)


def _git(folder: Path, *words: str) -> str | None:
    """Return what a command of Git prints; None if it fails."""
    try:
        done = subprocess.run(
            # A preview is not the time to write to somebody's repository.
            ["git", "--no-optional-locks", "--literal-pathspecs", "-C", str(folder), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
