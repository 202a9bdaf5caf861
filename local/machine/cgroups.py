"""The control group that all pods live in: made, emptied, removed."""

import contextlib
import os
import time
from pathlib import Path

from ..console import say
from .processes import end_process

CGROUP = "dlstack"
_ROOT = Path("/sys/fs/cgroup")


def prepare() -> None:
    """Make the control group, with every controller that the machine has."""
    for parent in _parents():
        (parent / CGROUP).mkdir(exist_ok=True)
    if (_ROOT / "cgroup.subtree_control").exists():
        controllers = (_ROOT / "cgroup.controllers").read_text().split()
        for control in (_ROOT, _ROOT / CGROUP):
            (control / "cgroup.subtree_control").write_text(" ".join(f"+{c}" for c in controllers))


def end_processes() -> None:
    """Kill every process in the control group: those of all pods."""
    for parent in _parents():
        # Groups vanish while their processes are killed: os.walk, unlike rglob, passes over that.
        for group, *_ in os.walk(parent / CGROUP):
            for pid in _pids(Path(group) / "cgroup.procs"):
                end_process(pid, 0)


def remove() -> None:
    """Remove the control group and those below it."""
    for parent in _parents():
        _remove(parent / CGROUP)


def _parents() -> list[Path]:
    """Where the root control groups are: one folder in version 2, one a controller in version 1."""
    if (_ROOT / "cgroup.controllers").exists():
        return [_ROOT]
    return [path.parent for path in _ROOT.glob("*/cgroup.procs")]


def _remove(group: Path) -> None:
    """Remove a group and those below it, once the kernel has let go of the dead."""
    until = time.monotonic() + 5
    for child, *_ in os.walk(group, topdown=False):
        while True:
            try:
                os.rmdir(child)
            except FileNotFoundError:
                pass
            except OSError as error:
                if time.monotonic() < until:
                    time.sleep(0.02)
                    continue
                say(f"the control group {child} can't be removed: {error.strerror}")
            break


def _pids(members: Path) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(pid) for pid in members.read_text().split()]
    return []
