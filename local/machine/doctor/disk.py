"""The disk of DLSTACK_HOME: free space and files, and whether its file system can hold a node."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .facts import Machine, Needs
from .finding import Finding, ok, problem, warning

EVICTION_GIBIBYTES = 1
"""Free space below which the kubelet ends pods (`evictionHard` of its configuration)."""
COLD_FILES, WARM_FILES = 250_000, 10_000
"""Files that are made, at the first start (160,000 measured) and at later ones."""
NOT_SHARED = ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse", "vboxsf", "prl_fs", "virtiofs", "drvfs")
"""Of another machine: containers' layers (overlayfs) and etcd can't lie there."""
_ANOTHER = "Set DLSTACK_HOME to a folder on"


@dataclass(frozen=True)
class Mount:
    point: str
    kind: str
    options: tuple[str, ...]


def mount_of(machine: Machine, path: Path) -> Mount | None:
    """The mount that a path is on; None where that can't be told."""
    found = None
    for line in machine.text("/proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        fields, kinds = left.split(), right.split()
        if len(fields) < 6 or not kinds:
            continue
        # Spaces are written as \040 (proc_pid_mountinfo(5)).
        point = fields[4].encode().decode("unicode_escape")
        inside = point == "/" or path == Path(point) or Path(point) in path.parents
        # A later mount covers an earlier one.
        if inside and (found is None or len(point) >= len(found.point)):
            options = {*fields[5].split(","), *(kinds[2].split(",") if len(kinds) > 2 else ())}
            found = Mount(point, kinds[0], tuple(options))
    return found


def examine(machine: Machine, needs: Needs) -> Iterator[Finding]:
    yield from space(machine, needs)
    mount = mount_of(machine, machine.nearest(needs.home))
    if mount is not None:
        yield _file_system(needs.home, mount)


def space(machine: Machine, needs: Needs) -> Iterator[Finding]:
    """Free bytes and files."""
    folder = machine.nearest(needs.home)
    try:
        size = machine.statvfs(machine.path(folder))
    except OSError as error:
        yield problem(
            "disk", f"{folder} can't be asked: {error.strerror}", f"{_ANOTHER} a disk that answers."
        )
        return
    yield _space(size, needs)
    files = WARM_FILES if needs.made else COLD_FILES
    # Without a table of files (btrfs, zfs) there is no limit.
    if size.f_files and size.f_favail < files:
        yield problem(
            "files",
            f"{needs.home} may have {size.f_favail} more files, and {files} are needed",
            f"Remove some, or s{_ANOTHER[1:]} another disk.",
        )


def _space(size: os.statvfs_result, needs: Needs) -> Finding:
    free = size.f_bavail * size.f_frsize / 2**30
    total = size.f_blocks * size.f_frsize / 2**30
    shown = f"{free:.1f} of {total:.0f} GiB free at {needs.home}"
    needed = max(needs.gibibytes, EVICTION_GIBIBYTES)
    if free < needed:
        return problem(
            "disk",
            f"{shown}, and {needed} GiB are needed",
            f"Free some, or s{_ANOTHER[1:]} a larger disk.",
        )
    if free < needed + EVICTION_GIBIBYTES:
        return warning(
            "disk",
            f"{shown}; below {EVICTION_GIBIBYTES} GiB Kubernetes ends pods",
            f"Free some, or s{_ANOTHER[1:]} a larger disk.",
        )
    return ok("disk", f"{shown}; below {EVICTION_GIBIBYTES} GiB Kubernetes ends pods")


def _file_system(home: Path, mount: Mount) -> Finding:
    shown = f"{mount.kind} at {mount.point}"
    if mount.kind == "overlay":
        return problem(
            "file system",
            f"{home} is on overlayfs ({mount.point}), which can't hold the layers of containers",
            "In a container, put it on a volume: "
            "`docker run -v dlstack:/dlstack -e DLSTACK_HOME=/dlstack …`.",
        )
    if mount.kind.split(".")[0] in NOT_SHARED or mount.kind.startswith("fuse"):
        return problem(
            "file system",
            f"{home} is on {mount.kind} ({mount.point}), which can't hold containers",
            f"{_ANOTHER} a disk of this machine.",
        )
    for option, effect in (("ro", "nothing can be written"), ("noexec", "no program can run")):
        if option in mount.options:
            return problem(
                "file system",
                f"{mount.point} is mounted {option}: {effect} in {home}",
                f"{_ANOTHER} another file system, or "
                f"`mount -o remount,{'rw' if option == 'ro' else 'exec'} {mount.point}`.",
            )
    if mount.kind in ("tmpfs", "ramfs"):
        return warning(
            "file system",
            f"{home} is in memory ({mount.kind} at {mount.point}): lost at the next boot",
            f"{_ANOTHER} a disk.",
        )
    return ok("file system", shown)
