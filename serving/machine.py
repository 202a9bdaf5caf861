"""What this process may use of the machine: processors and memory, as its container allows.

Kubernetes sets a container's limits as control groups, version 1 or 2 (`man 7 cgroups`). A limit of
a group holds for all groups in it, so that the smallest one on the way up counts.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def cpus(groups: Path = _GROUPS, own: Path = _OWN) -> int:
    """Return how many processors may work for this process at the same time, at least 1."""
    count: float = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    count = count or os.cpu_count() or 1
    for folder in _folders("cpu", groups, own):
        quota, period = _numbers(folder / "cpu.max")
        if not period:
            quota, period = (
                _numbers(folder / f"cpu.cfs_{name}_us")[0] for name in ("quota", "period")
            )
        if quota > 0 and period > 0:
            count = min(count, quota / period)
    return max(1, math.ceil(count))


def memory_limit(groups: Path = _GROUPS, own: Path = _OWN) -> int:
    """Return the bytes of memory that this process and its like in the container may have."""
    limits = [os.sysconf("SC_PHYS_PAGES") * _PAGE]
    for folder in _folders("memory", groups, own):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit, _ = _numbers(folder / name)
            if limit > 0:
                limits.append(limit)
    return min(limits)


def memory_used() -> int:
    """Return the bytes of memory that this process has now, without files that it has mapped."""
    try:
        _, resident, shared, *_ = Path("/proc/self/statm").read_text().split()
    except OSError:
        return 0
    return (int(resident) - int(shared)) * _PAGE


def _folders(controller: str, groups: Path, own: Path) -> Iterator[Path]:
    """Yield the folders of this process' control groups that may limit what a controller counts."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            roots = [groups, groups / "unified"]
        elif controller in controllers.split(","):
            roots = [groups / controllers, groups / controller]
        else:
            continue
        for root in roots:
            # A container sees its own group as the root, though some are told the way from outside.
            folder = root / path.lstrip("/")
            yield from (one for one in (folder, *folder.parents) if one.is_relative_to(root))


def _numbers(file: Path) -> tuple[int, int]:
    """Return the one or two numbers in a file; 0 for what isn't there or `max`."""
    try:
        words = file.read_text().split()
    except OSError:
        words = []
    first, second, *_ = (*(int(word) if word != "max" else 0 for word in words), 0, 0)
    return first, second
