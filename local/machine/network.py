"""The machine's network as the node needs it: address, kernel settings, firewall; and undone."""

import shutil
import subprocess
from pathlib import Path

from .checks import MachineError

BRIDGE = "dlstack0"
_SETTINGS = Path("/proc/sys")
_BRIDGED = "net/bridge/bridge-nf-call-iptables"


def prepare(folder: Path, node_ip: str, pod_cidr: str) -> None:
    """Give the machine the node's address, IP forwarding and a way through its firewall.

    Args:
        folder: of the cluster; what the kernel settings were before is kept there.
        node_ip: for the loopback interface.
        pod_cidr: addresses that may reach each other.

    Raises:
        MachineError: the machine refuses.
    """
    if f" {node_ip}/" not in _run("ip", "address", "show", "dev", "lo"):
        _run("ip", "address", "add", f"{node_ip}/32", "dev", "lo")
    _set(folder, "net/ipv4/ip_forward", "1")
    if not (_SETTINGS / _BRIDGED).exists():
        subprocess.run(["modprobe", "br_netfilter"], capture_output=True)
    _set(folder, _BRIDGED, "1")
    if "DROP" in _run("iptables", "--list-rules", "FORWARD").partition("\n")[0]:
        # A firewall (or Docker) that drops what it does not know would cut pods off from each
        # other.
        for side in ("--source", "--destination"):
            rule = (side, pod_cidr, "--jump", "ACCEPT", "--match", "comment", "--comment", BRIDGE)
            if subprocess.run(
                ["iptables", "--check", "FORWARD", *rule], capture_output=True
            ).returncode:
                _run("iptables", "--insert", "FORWARD", *rule)


def restore(folder: Path, node_ip: str) -> None:
    """Undo `prepare`, and what pods left: namespaces, their bridge, firewall rules."""
    for namespace in Path("/run/netns").glob("cni-*"):
        subprocess.run(["ip", "netns", "delete", namespace.name], capture_output=True)
    subprocess.run(["ip", "link", "delete", BRIDGE], capture_output=True)
    shutil.rmtree(folder / "cni-addresses", ignore_errors=True)
    for family in ("iptables", "ip6tables"):
        rules = subprocess.run([f"{family}-save"], capture_output=True, text=True).stdout
        if "KUBE-" in rules or "CNI-" in rules or BRIDGE in rules:
            subprocess.run(
                [f"{family}-restore"], input=without_ours(rules), capture_output=True, text=True
            )
    subprocess.run(["ip", "address", "delete", f"{node_ip}/32", "dev", "lo"], capture_output=True)
    for before in (folder / "sysctl").glob("*"):
        (_SETTINGS / before.name.replace(".", "/")).write_text(before.read_text())
        before.unlink()


def without_ours(rules: str) -> str:
    """A firewall as iptables-save prints it, without what Kubernetes and the CNI plugins added."""
    ours = (":KUBE-", ":CNI-", "-A KUBE-", "-A CNI-", "-j KUBE-", "-j CNI-", f"--comment {BRIDGE}")
    return "\n".join(line for line in rules.splitlines() if not any(o in line for o in ours)) + "\n"


def _set(folder: Path, setting: str, wanted: str) -> None:
    """Give a kernel setting a value, if this kernel has it; its old value goes into `folder`."""
    path = _SETTINGS / setting
    if not path.exists() or path.read_text().strip() == wanted:
        return
    before = folder / "sysctl" / setting.replace("/", ".")
    before.parent.mkdir(exist_ok=True)
    before.write_text(path.read_text())
    path.write_text(wanted)


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise MachineError(
            f"`{' '.join(words)}` failed: {done.stderr.strip()}",
            "The embedded cluster needs this of the machine.",
        )
    return done.stdout
