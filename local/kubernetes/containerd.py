"""containerd: its configuration, its client, and what its containers leave behind."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from ..machine.checks import may_raise_limits
from ..machine.packages import cni_plugins


def socket(folder: Path) -> Path:
    """Where containerd listens in the cluster's folder."""
    return folder / "containerd.sock"


def ctr(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run containerd's client in the namespace of the node's images and containers."""
    return subprocess.run(
        ["ctr", "--address", str(socket(folder)), "--namespace", "k8s.io", *words],
        capture_output=True,
        text=True,
    )


def configuration(folder: Path, sandbox_image: str) -> str:
    """The content of containerd's configuration file (TOML).

    Args:
        folder: of the cluster.
        sandbox_image: holds the program that keeps a pod's namespaces open.

    Raises:
        LocalError: this machine has no CNI plugins.
    """
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    # Without CAP_SYS_RESOURCE the score can't be lowered, and runc fails with
    # "can't get final child's PID from pipe" when it tries.
    restricted = str(not may_raise_limits()).lower()
    return f"""version = 2
root = "{folder / "containerd"}"
state = "{folder / "containerd-state"}"
[grpc]
address = "{socket(folder)}"
[{cri}]
sandbox_image = "{sandbox_image}"
restrict_oom_score_adj = {restricted}
[{cri}.cni]
bin_dir = "{cni_plugins()}"
conf_dir = "{folder / "cni"}"
[{cri}.containerd]
default_runtime_name = "runc"
[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"""


def end_shims(folder: Path) -> None:
    """Kill the processes that watch over containers, one each, and outlive containerd."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"containerd-shim" in words[0] and str(socket(folder)).encode() in words:
                os.kill(int(process.name), signal.SIGKILL)


def unmount(folder: Path) -> None:
    """Unmount what containers and pods had mounted below the cluster's folder."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], capture_output=True)
