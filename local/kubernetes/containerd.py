"""containerd: what it is configured with. Its state is as short-lived as the node's namespaces."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from ..machine.checks import may_raise_limits
from ..machine.packages import cni_plugins

SOCKET = "/run/containerd/containerd.sock"


def configuration(folder: Path, sandbox_image: str) -> str:
    """The content of containerd's configuration file (TOML).

    Args:
        folder: of the cluster, as containerd sees it.
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
state = "/run/containerd"
[grpc]
address = "{SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
path = "/run/containerd/opt"
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


def ctr(enter: Sequence[str], *words: str) -> "subprocess.CompletedProcess[str]":
    """Run containerd's client on the images and containers of a node.

    Args:
        enter: the words before a command that is to run on that node.
        words: the client's.
    """
    client = ("ctr", "--address", SOCKET, "--namespace", "k8s.io")
    return subprocess.run([*enter, *client, *words], capture_output=True, text=True)


def offline(root: Path, socket: Path) -> str:
    """The content of a configuration file (TOML) for one that runs no containers.

    Args:
        root: its store.
        socket: where it answers; its state is beside.
    """
    return f"""version = 2
root = "{root}"
state = "{socket.parent}"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
path = "{socket.parent}/opt"
"""
