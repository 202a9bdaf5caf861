"""A platform of the versions whose node had no namespaces of its own: found, and stopped once.

Its data stay, for the node that takes its place.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

from ..machine import former_network
from ..machine.cgroups import CGROUP, ControlGroup
from ..machine.processes import Daemon
from .configuration import ETCD, ETCD_PEER, PORTS, VOLUME_PROVISIONER

_PROCESSES = ("etcd", *PORTS, VOLUME_PROVISIONER)
_LOGS = Path("/var/log/pods")


def is_there(folder: Path) -> bool:
    """Whether one runs in the cluster's folder, or was not stopped as it should have been."""
    files = (folder / "pids").glob("*")
    return (folder / "cni-addresses").exists() or any(not _is_known(file) for file in files)


def stop(folder: Path, grace_seconds: float) -> None:
    """End all its processes, and undo what it has changed in the machine."""
    for name in reversed(_PROCESSES):
        Daemon(name, (), folder).stop()
    group = ControlGroup(CGROUP)
    group.end_processes(grace_seconds)
    _end_shims(folder / "containerd.sock")
    Daemon("containerd", (), folder).stop()
    _unmount(folder)
    former_network.restore(folder)
    group.remove()
    for pod in (folder / "kubelet" / "pods").glob("*"):
        for logs in _LOGS.glob(f"*_{pod.name}"):
            shutil.rmtree(logs)
    for url in (ETCD, ETCD_PEER):
        (folder / url.removeprefix("unix://")).unlink(missing_ok=True)
    for name in ("containerd.sock", "containerd.sock.ttrpc"):
        (folder / name).unlink(missing_ok=True)
    for name in ("containerd-state", "sysctl"):
        shutil.rmtree(folder / name, ignore_errors=True)


def _is_known(pid_file: Path) -> bool:
    """Whether a process was started by this version, or a later one than the former."""
    try:
        return "command" in json.loads(pid_file.read_text())
    except ValueError:
        return True


def _end_shims(socket: Path) -> None:
    """Kill the processes that watch over containers, one each, and outlive containerd."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"containerd-shim" in words[0] and str(socket).encode() in words:
                os.kill(int(process.name), signal.SIGKILL)


def _unmount(folder: Path) -> None:
    """Unmount what containers and pods had mounted below the cluster's folder."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], capture_output=True)
