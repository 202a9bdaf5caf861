"""The control group that all pods live in: made, emptied, removed."""

import contextlib
import os
import signal
import time
from pathlib import Path

from ..console import say
from .processes import end_process, has_ended

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


def end_processes(grace_seconds: float) -> None:
    """End every process in the control group, those of all pods: asked first, then killed.

    Args:
        grace_seconds: for those that write something when they are asked, as a store does.
    """
    until = time.monotonic() + grace_seconds
    asked = _members()
    for pid in asked:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    for pid in asked:
        has_ended(pid, max(0.0, until - time.monotonic()))
    for pid in _members():
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


def _members() -> list[int]:
    # Groups vanish while their processes end: os.walk, unlike rglob, passes over that.
    groups = (group for parent in _parents() for group, *_ in os.walk(parent / CGROUP))
    return [pid for group in groups for pid in _pids(Path(group) / "cgroup.procs")]


def _pids(members: Path) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(pid) for pid in members.read_text().split()]
    return []
