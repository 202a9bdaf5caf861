"""Control groups: their version, and the controllers that pods need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .facts import Machine
from .finding import Finding, ok, problem

ROOT = Path("/sys/fs/cgroup")
NEEDED = ("cpu", "cpuset", "memory", "pids")
_PRIVILEGED = "Start the container with --privileged."


def examine(machine: Machine) -> Iterator[Finding]:
    if machine.exists(ROOT / "cgroup.controllers"):
        yield _second_version(machine)
    elif any(machine.exists(ROOT / name / "cgroup.procs") for name in NEEDED):
        yield _first_version(machine)
    else:
        yield problem(
            "control groups",
            f"none are mounted at {ROOT}",
            f"`mount -t cgroup2 none {ROOT}`; in a container, start it with --privileged.",
        )


def memory_limit(machine: Machine) -> int | None:
    """Bytes that a container may use; None without a limit."""
    for file in ("memory.max", "memory/memory.limit_in_bytes"):
        limit = machine.number(ROOT / file)
        if limit is not None and limit < 2**60:
            return limit
    return None


def core_limit(machine: Machine) -> float | None:
    """Cores that a container may use; None without a limit."""
    words = machine.text(ROOT / "cpu.max").split()
    if not words:
        words = [
            machine.text(ROOT / "cpu" / file).strip()
            for file in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        ]
    numbers = [int(word) for word in words if word.isdigit()]
    return numbers[0] / numbers[1] if len(numbers) == 2 else None


def _second_version(machine: Machine) -> Finding:
    controllers = machine.text(ROOT / "cgroup.controllers").split()
    missing = [name for name in NEEDED if name not in controllers]
    if missing:
        return problem(
            "control groups",
            f"version 2 without {', '.join(missing)}",
            "Add `cgroup_enable=memory cgroup_memory=1` to the kernel's command line and reboot."
            if missing == ["memory"]
            else "Have them handed down: in a container by --privileged, in an LXC by its host, "
            "else boot with systemd.unified_cgroup_hierarchy=1.",
        )
    if machine.is_root and not machine.may_write(ROOT / "cgroup.subtree_control"):
        return problem("control groups", f"{ROOT} is read-only", _PRIVILEGED)
    found = f"version 2: {', '.join(NEEDED)}"
    # The machine's own root group has no type.
    if machine.exists(ROOT / "cgroup.type") and machine.text(ROOT / "cgroup.procs").split():
        found += "; the container's processes get a group of their own"
    return ok("control groups", found)


def _first_version(machine: Machine) -> Finding:
    missing = [name for name in NEEDED if not machine.exists(ROOT / name / "cgroup.procs")]
    if missing:
        return problem(
            "control groups",
            f"version 1 without {', '.join(missing)}",
            "Add `cgroup_enable=memory cgroup_memory=1` to the kernel's command line and reboot."
            if missing == ["memory"]
            else "Mount them, as the package cgroupfs-mount does.",
        )
    if machine.is_root and not machine.may_write(ROOT / "memory"):
        return problem("control groups", f"{ROOT} is read-only", _PRIVILEGED)
    return ok("control groups", f"version 1: {', '.join(NEEDED)}")
