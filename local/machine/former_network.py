"""What a node left in the machine when it had no namespaces of its own, undone.

A platform of that time may still run, or have been killed, when this version is first used.
"""

import ipaddress
import json
import re
import shutil
import subprocess
from pathlib import Path

_BRIDGE = "dlstack0"
_NODE = "10.77.0.1/32"
_PODS = "10.78.0.0/16"
_SETTINGS = Path("/proc/sys")
_OURS = r"name: \"dlstack\""
"""In the comments of the CNI plugins' rules, as iptables-save quotes it."""
_CNI_CHAIN = re.compile(r"\b(CNI-[0-9a-f]+)\b")


def restore(folder: Path) -> None:
    """Remove namespaces, bridge, firewall rules and address; reset the kernel's settings.

    What others have on this machine stays, other container engines' parts included.

    Args:
        folder: of the cluster.
    """
    for namespace in Path("/run/netns").glob("cni-*"):
        if _has_pod_address(namespace.name):
            subprocess.run(["ip", "netns", "delete", namespace.name], capture_output=True)
    subprocess.run(["ip", "link", "delete", _BRIDGE], capture_output=True)
    shutil.rmtree(folder / "cni-addresses", ignore_errors=True)
    for family in ("iptables", "ip6tables"):
        rules = subprocess.run([f"{family}-save"], capture_output=True, text=True).stdout
        if removal := without_ours(rules):
            # Not the whole firewall, which others may change at this moment.
            subprocess.run(
                [f"{family}-restore", "--noflush"], input=removal, capture_output=True, text=True
            )
    subprocess.run(["ip", "address", "delete", _NODE, "dev", "lo"], capture_output=True)
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
            and (line.rpartition(" -j ")[2].split()[0] in chains or f"--comment {_BRIDGE}" in line)
        ]
        if chains or unwanted:
            # Naming a chain empties it, and an empty one that no rule leads to can go.
            emptied = [f":{chain} - [0:0]" for chain in chains]
            told += [f"*{name}", *emptied, *unwanted, *(f"-X {c}" for c in chains), "COMMIT"]
    return "\n".join(told) + "\n" if told else ""


def _has_pod_address(namespace: str) -> bool:
    shown = subprocess.run(
        ["ip", "-netns", namespace, "-json", "-4", "address"], capture_output=True, text=True
    )
    links = json.loads(shown.stdout or "[]")
    return any(
        ipaddress.ip_address(address["local"]) in ipaddress.ip_network(_PODS)
        for link in links
        for address in link.get("addr_info", [])
    )
