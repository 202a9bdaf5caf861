"""The control group that all pods live in: made, emptied, removed, with what it changes above it.

In version 2 a group that hands controllers down holds no processes, except the machine's own root
group. In a container the root group is an ordinary one, with the container's processes in it: they
move to a group beside ours, and back at the end.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from ..console import say
from .checks import MachineError
from .processes import end_process, has_ended

CGROUP = "dlstack"
OTHERS = "dlstack-others"
"""Where the processes of a container's root group are meanwhile."""
BOOT = Path("/proc/sys/kernel/random/boot_id")
SECONDS = 5
"""How long processes that begin and end meanwhile may get in the way."""


@dataclass(frozen=True)
class ControlGroup:
    """The group `name` of this machine, in each hierarchy."""

    name: str = CGROUP
    """Begins with CGROUP: so one cluster knows the group of another. GROUP/NAME is one in GROUP."""
    root: Path = Path("/sys/fs/cgroup")
    record: Path = Path("/run/dlstack-controllers")
    """What the root group was like, for the last cluster of the machine that ends."""

    def prepare(self) -> None:
        """Make the group, with every controller that the machine has.

        Raises:
            MachineError: the machine refuses.
        """
        if (self.root / "cgroup.subtree_control").exists():
            self._remember()
        try:
            for parent in self._parents():
                (parent / self.name).mkdir(exist_ok=True)
            if (self.root / "cgroup.subtree_control").exists():
                controllers = (self.root / "cgroup.controllers").read_text().split()
                self._hand_down(controllers)
                _enable(self.root / self.name, controllers)
        except OSError as error:
            raise MachineError(
                f"{error.filename or self.root} can't be changed: {error.strerror}.",
                "In a container, start it with --privileged.",
            ) from error

    def end_processes(self, grace_seconds: float) -> None:
        """End every process in the group, those of all pods: asked first, then killed.

        Args:
            grace_seconds: for those that write something when they are asked, as a store does.
        """
        until = time.monotonic() + grace_seconds
        asked = self._members()
        for pid in asked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        for pid in asked:
            has_ended(pid, max(0.0, until - time.monotonic()))
        self.kill()

    def kill(self) -> None:
        """End every process in the group without asking it."""
        while members := self._members():
            for pid in members:
                end_process(pid, 0)

    def remove(self) -> None:
        """Remove the group and those below it; the root group is again as it was."""
        for parent in self._parents():
            _remove(parent / self.name)
        if not self.has_neighbours():
            self._restore()

    def has_neighbours(self) -> bool:
        """Whether another cluster of this machine has a group."""
        groups = (group.name for parent in self._parents() for group in parent.glob(f"{CGROUP}*"))
        return bool({*groups} - {self.name, OTHERS})

    def _parents(self) -> list[Path]:
        """The root groups: one folder in version 2, one a controller in version 1."""
        if (self.root / "cgroup.controllers").exists():
            return [self.root]
        return [path.parent for path in self.root.glob("*/cgroup.procs")]

    def _members(self) -> list[int]:
        # Groups vanish while their processes end: os.walk, unlike rglob, passes over that.
        groups = (group for parent in self._parents() for group, *_ in os.walk(parent / self.name))
        return [pid for group in groups for pid in _pids(Path(group))]

    def _remember(self) -> None:
        """Write down what the root group hands down, unless an earlier cluster has done so."""
        boot = BOOT.read_text().strip()
        with contextlib.suppress(FileNotFoundError, ValueError):
            if json.loads(self.record.read_text())["boot"] == boot:
                return
        before = {
            "boot": boot,
            "controllers": (self.root / "cgroup.subtree_control").read_text().split(),
            "groups": self._groups(),
        }
        self.record.write_text(json.dumps(before))

    def _restore(self) -> None:
        """Hand down only what was handed down before, and return a container's processes."""
        control = self.root / "cgroup.subtree_control"
        try:
            before = json.loads(self.record.read_text())
        except (FileNotFoundError, ValueError):
            return
        if before["boot"] == BOOT.read_text().strip() and control.exists():
            # A group that came meanwhile may use the controllers.
            if set(self._groups()) <= {*before["groups"], OTHERS}:
                for controller in control.read_text().split():
                    if controller not in before["controllers"]:
                        # Busy: somebody hands it further down.
                        with contextlib.suppress(OSError):
                            control.write_text(f"-{controller}")
            if not control.read_text().split():
                _move(self.root / OTHERS, self.root)
                _remove(self.root / OTHERS)
            elif (self.root / OTHERS).exists():
                say(f"processes stay in {self.root / OTHERS}: new groups use what {control} names")
        self.record.unlink()

    def _groups(self) -> list[str]:
        """The groups directly below the root that are none of ours."""
        names = (group.name for group in self.root.iterdir() if group.is_dir())
        return sorted(name for name in names if not name.startswith(CGROUP))

    def _hand_down(self, controllers: list[str]) -> None:
        """Have the root group hand controllers down, also that of a container."""
        until = time.monotonic() + SECONDS
        while True:
            try:
                return _enable(self.root, controllers)
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > until:
                    raise
            others = self.root / OTHERS
            others.mkdir(exist_ok=True)
            _move(self.root, others)


def _enable(group: Path, controllers: list[str]) -> None:
    control = group / "cgroup.subtree_control"
    if missing := set(controllers) - set(control.read_text().split()):
        try:
            control.write_text(" ".join(f"+{name}" for name in sorted(missing)))
        except OSError as error:
            # Written at the close, which names no file.
            raise OSError(error.errno, error.strerror, str(control)) from error


def _move(source: Path, target: Path) -> None:
    """Move the processes of a group; those that begin meanwhile are left for the next time."""
    for pid in _pids(source):
        with contextlib.suppress(OSError):  # It has ended.
            (target / "cgroup.procs").write_text(str(pid))


def _remove(group: Path) -> None:
    """Remove a group and those below it, once the kernel has let go of the dead."""
    until = time.monotonic() + SECONDS
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


def _pids(group: Path) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(pid) for pid in (group / "cgroup.procs").read_text().split()]
    return []
