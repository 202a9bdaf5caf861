"""The cache that several homes may share: names of its entries, and who makes one."""

import fcntl
import hashlib
import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ..console import step

_SHOWN = 80
"""Characters of a command."""


def digest(paths: Iterable[Path], *words: str) -> str:
    """The key of a cache entry: twelve hexadecimal digits over files, names included, and words.

    Names in the cache have it: what an entry is made from says whether it is still the right one.
    """
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    for word in words:
        total.update(word.encode() + b"\0")
    return total.hexdigest()[:12]


@contextmanager
def alone(cache: Path, work: str) -> Iterator[None]:
    """Do a kind of work in the cache while no other process does, of another home either.

    The lock's file says who has it, for those who wait.

    Args:
        work: its name, such as `image-build`.
    """
    with (cache / f"{work}.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with step(f"wait for {_holder(lock)}, which is at the same work ({work}) in {cache}"):
                fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(f"{os.getpid()} {shlex.join(sys.orig_argv[1:])}\n")
        lock.flush()
        try:
            yield
        finally:
            # What a killed process leaves is recognized by its number: no such process is there.
            lock.truncate(0)


def _holder(lock: TextIO) -> str:
    """Return what the holder of a lock has written into it, as far as that is still true."""
    lock.seek(0)
    process, _, command = lock.readline().strip().partition(" ")
    if not process.isdecimal() or not Path(f"/proc/{process}").exists():
        # It has only just begun or ended; or it is in a container, or of an older release.
        return "another command"
    shown = command if len(command) <= _SHOWN else f"{command[:_SHOWN]}…"
    return f"process {process} ('{shown}')"
