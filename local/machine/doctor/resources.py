"""Memory, cores, and how much of its tables the kernel gives."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .. import inotify
from . import control_groups
from .facts import Machine, Needs
from .finding import Finding, ok, problem, warning

LEAST_MEMORY, ENOUGH_MEMORY = 3.5, 5.5
"""GiB. Measured: processes of the cluster 1.3, the example's job 0.6 (it reserves 2), other pods of
the stack 0.6, `pulumi up` 0.4."""
ENOUGH_CORES = 2
THREADS = 2000
OPEN_FILES = 4096


def examine(machine: Machine, needs: Needs) -> Iterator[Finding]:
    yield from _memory(machine, needs)
    yield from _cores(machine)
    yield from _tables(machine)


def _memory(machine: Machine, needs: Needs) -> Iterator[Finding]:
    said = machine.text("/proc/meminfo")
    kibibytes: dict[str, str] = dict(re.findall(r"^(\w+):\s+(\d+) kB", said, re.MULTILINE))
    if "MemTotal" not in kibibytes:
        return
    total = int(kibibytes["MemTotal"]) / 2**20
    free = int(kibibytes.get("MemAvailable", kibibytes["MemTotal"])) / 2**20
    limit = control_groups.memory_limit(machine)
    shown = f"{total:.1f} GiB, {free:.1f} GiB free"
    if limit is not None and limit / 2**30 < total:
        total = limit / 2**30
        free = min(free, total)
        shown = f"{total:.1f} GiB, this container's limit"
    if total < LEAST_MEMORY:
        yield problem(
            "memory",
            f"{shown}, and {LEAST_MEMORY} GiB are needed",
            "Give the machine (or the container) more.",
        )
    elif not needs.running and free < LEAST_MEMORY:
        yield warning(
            "memory", f"{shown}, and {LEAST_MEMORY} GiB are needed", "End other programs."
        )
    elif total < ENOUGH_MEMORY:
        yield warning(
            "memory",
            f"{shown}: the example fits, and little beside it",
            "Keep dlstack:flavour at cpu-small or cpu.",
        )
    else:
        yield ok("memory", shown)


def _cores(machine: Machine) -> Iterator[Finding]:
    cores: float = 0
    for part in machine.text("/sys/devices/system/cpu/online").strip().split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            cores += int(last or first) - int(first) + 1
    limit = control_groups.core_limit(machine)
    if not cores:
        return
    cores = min(cores, limit or cores)
    if cores < ENOUGH_CORES:
        yield warning(
            "cores",
            f"{cores:g}: a job of the flavour cpu reserves a whole one, and does not fit beside "
            "the stack's other pods",
            "After `make up` fails for want of room: "
            "`pulumi config set dlstack:flavour cpu-small`, then `make up`.",
        )
    else:
        yield ok("cores", f"{cores:g}")


def _tables(machine: Machine) -> Iterator[Finding]:
    limits = {f"fs.inotify.{name}": value for name, value in inotify.ENOUGH.items()}
    files = {name: f"/proc/sys/{name.replace('.', '/')}" for name in limits}
    values = {name: machine.number(file) for name, file in files.items()}
    low = [name for name, value in values.items() if value is not None and value < limits[name]]
    if any(value is not None for value in values.values()):
        shown = " and ".join(f"{value} {name.rpartition('_')[2]}" for name, value in values.items())
        stuck = [name for name in low if machine.is_root and not machine.may_write(files[name])]
        if stuck:
            wanted = " ".join(f"{name}={limits[name]}" for name in stuck)
            yield warning(
                "inotify", f"{shown}, which can't be raised here", f"`sysctl -w {wanted}` outside."
            )
        else:
            yield ok("inotify", f"{shown}{', raised while the cluster runs' if low else ''}")
    if machine.open_files < OPEN_FILES and machine.open_files >= 0:
        yield warning(
            "open files",
            f"a process may open {machine.open_files}",
            "`ulimit -n 65536` before `make up`, or the same in /etc/security/limits.conf.",
        )
    used, _, most = (machine.text("/proc/sys/fs/file-nr").split() or ["0", "0", ""])[:3]
    if most.isdigit() and int(most) - int(used) < 10 * OPEN_FILES:
        yield warning(
            "open files",
            f"{used} of {most} are in use on this machine",
            "`sysctl -w fs.file-max=1048576`.",
        )
    yield from _threads(machine)


def _threads(machine: Machine) -> Iterator[Finding]:
    running = re.search(r"\d+/(\d+) ", machine.text("/proc/loadavg"))
    used = int(running[1]) if running else 0
    for file, name in (
        ("/proc/sys/kernel/pid_max", "kernel.pid_max"),
        ("/proc/sys/kernel/threads-max", "kernel.threads-max"),
        (control_groups.ROOT / "pids.max", "the container's pids.max"),
    ):
        most = machine.number(file)
        if most is not None and most - used < THREADS:
            yield warning(
                "threads",
                f"{name} is {most}, of which {used} are in use, and the cluster needs {THREADS}",
                "Raise it (Docker: --pids-limit -1)."
                if "container" in name
                else f"`sysctl -w {name}=4194304`.",
            )
