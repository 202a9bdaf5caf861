"""The machine's network as the node needs it: address, kernel settings, firewall; and undone."""

import ipaddress
import json
import re
import shutil
import subprocess
from pathlib import Path

from .checks import MachineError

BRIDGE = "dlstack0"
_SETTINGS = Path("/proc/sys")
_BRIDGED = "net/bridge/bridge-nf-call-iptables"
_CHANGED_BY_KUBERNETES = (
    # kube-proxy, for node ports of 127.0.0.1. Its firewall rule that makes this safe goes with it.
    "net/ipv4/conf/all/route_localnet",
    # The kubelet.
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
_OURS = r"name: \"dlstack\""
"""In the comments of the CNI plugins' rules, as iptables-save quotes it."""
_CNI_CHAIN = re.compile(r"\b(CNI-[0-9a-f]+)\b")


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


def remember(folder: Path) -> None:
    """Keep what the node's processes are about to change, for `restore`. Before they start."""
    for setting in _CHANGED_BY_KUBERNETES:
        _keep(folder, setting)


def restore(folder: Path, node_ip: str, pod_cidr: str) -> None:
    """Undo `prepare`, and what pods and the node's processes left.

    These are namespaces, their bridge, firewall rules and the kernel settings of `remember`. What
    others have on this machine stays, other container engines' parts included.
    """
    for namespace in Path("/run/netns").glob("cni-*"):
        if _has_address_in(namespace.name, pod_cidr):
            subprocess.run(["ip", "netns", "delete", namespace.name], capture_output=True)
    subprocess.run(["ip", "link", "delete", BRIDGE], capture_output=True)
    shutil.rmtree(folder / "cni-addresses", ignore_errors=True)
    for family in ("iptables", "ip6tables"):
        rules = subprocess.run([f"{family}-save"], capture_output=True, text=True).stdout
        if removal := without_ours(rules):
            # Not the whole firewall, which others may change at this moment.
            subprocess.run(
                [f"{family}-restore", "--noflush"], input=removal, capture_output=True, text=True
            )
    subprocess.run(["ip", "address", "delete", f"{node_ip}/32", "dev", "lo"], capture_output=True)
    for before in (folder / "sysctl").glob("*"):
        (_SETTINGS / before.name.replace(".", "/")).write_text(before.read_text())
        before.unlink()


def without_ours(rules: str) -> str:
    """What `iptables-restore --noflush` is told to remove the node's part of a firewall.

    That are the chains of kube-proxy and the kubelet (no others run beside ours: they want the same
    ports), those that the CNI plugins made for this network, and our own rules.

    Args:
        rules: the firewall, as iptables-save prints it.
    """
    told: list[str] = []
    for table in rules.split("\n*")[1:]:
        name, *lines = table.splitlines()
        chains = [line[1:].split()[0] for line in lines if line.startswith(":KUBE-")]
        chains += sorted(
            {match[1] for line in lines if _OURS in line and (match := _CNI_CHAIN.search(line))}
        )
        unwanted = [
            f"-D {line.removeprefix('-A ')}"
            for line in lines
            if line.startswith("-A ")
            and line.split()[1] not in chains
            and (line.rpartition(" -j ")[2].split()[0] in chains or f"--comment {BRIDGE}" in line)
        ]
        if chains or unwanted:
            # Naming a chain empties it, and an empty one that no rule leads to can go.
            emptied = [f":{chain} - [0:0]" for chain in chains]
            told += [f"*{name}", *emptied, *unwanted, *(f"-X {c}" for c in chains), "COMMIT"]
    return "\n".join(told) + "\n" if told else ""


def _has_address_in(namespace: str, cidr: str) -> bool:
    shown = subprocess.run(
        ["ip", "-netns", namespace, "-json", "-4", "address"], capture_output=True, text=True
    )
    links = json.loads(shown.stdout or "[]")
    return any(
        ipaddress.ip_address(address["local"]) in ipaddress.ip_network(cidr)
        for link in links
        for address in link.get("addr_info", [])
    )


def _set(folder: Path, setting: str, wanted: str) -> None:
    """Give a kernel setting a value, if this kernel has it; its old value goes into `folder`."""
    path = _SETTINGS / setting
    if not path.exists() or path.read_text().strip() == wanted:
        return
    _keep(folder, setting)
    path.write_text(wanted)


def _keep(folder: Path, setting: str) -> None:
    """Write down what a setting was before it was changed for the first time."""
    before = folder / "sysctl" / setting.replace("/", ".")
    if (_SETTINGS / setting).exists() and not before.exists():
        before.parent.mkdir(exist_ok=True)
        before.write_text((_SETTINGS / setting).read_text())


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise MachineError(
            f"`{' '.join(words)}` failed: {done.stderr.strip()}",
            "The embedded cluster needs this of the machine.",
        )
    return done.stdout
