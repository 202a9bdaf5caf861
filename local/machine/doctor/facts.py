"""The machine as an examination sees it, and what the cluster needs of it."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path

COMMAND_SECONDS = 30
"""Of a command that hangs: on a busy machine one that does what it should may take some."""


def _run(words: Sequence[str]) -> tuple[int, str]:
    """Exit status and output of a command; status 127 if it is not there."""
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, str(error)
    return done.returncode, done.stdout


@dataclass(frozen=True)
class Machine:
    """Where an examination gets its facts from; all can be another machine's."""

    root: Path = Path("/")
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    run: Callable[[Sequence[str]], tuple[int, str]] = _run
    which: Callable[[str], str | None] = shutil.which
    statvfs: Callable[[Path], os.statvfs_result] = os.statvfs
    now: Callable[[], float] = time.time
    system: str = sys.platform
    architecture: str = field(default_factory=platform.machine)
    release: str = field(default_factory=platform.release)
    """Of the kernel."""
    user: int = field(default_factory=os.geteuid)
    open_files: int = field(default_factory=lambda: resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    """How many files a process may open, at most."""

    def path(self, path: str | Path) -> Path:
        return self.root / str(path).lstrip("/")

    def text(self, path: str | Path) -> str:
        """Content of a file; empty if it can't be read."""
        try:
            return self.path(path).read_text(errors="replace")
        except OSError:
            return ""

    def number(self, path: str | Path) -> int | None:
        """The number in a file; None if there is none, as in `max`."""
        text = self.text(path).strip()
        return int(text) if re.fullmatch(r"-?\d+", text) else None

    def exists(self, path: str | Path) -> bool:
        try:
            return self.path(path).exists()
        except OSError:
            return False

    def may_write(self, path: str | Path) -> bool:
        return os.access(self.path(path), os.W_OK)

    def nearest(self, folder: Path) -> Path:
        """The folder, or the one that it will be made in."""
        while not self.exists(folder) and folder != folder.parent:
            folder = folder.parent
        return folder

    @property
    def is_root(self) -> bool:
        return self.user == 0


@dataclass(frozen=True)
class Needs:
    """What the cluster of one folder needs of its machine."""

    home: Path
    gibibytes: int
    """Free disk that the next start needs."""
    network: IPv4Network
    """Nodes, pods and services have their addresses in it."""
    ports: Mapping[int, str] = field(default_factory=dict)
    """Ports of this machine, and what is reached there."""
    addresses: tuple[str, ...] = ("127.0.0.1",)
    """Where these ports are open."""
    devices: tuple[str, ...] = ()
    """Network devices of the cluster, as patterns of fnmatch."""
    made: bool = False
    """Whether the cluster was started before, with its programs and its network."""
    nodes: int = 1
    """How many nodes the cluster is to have."""
    processes: tuple[int, ...] = ()
    """Ids of the cluster's processes that run."""

    @property
    def running(self) -> bool:
        return bool(self.processes)
