"""The kernel: its version and what it can do, as its files tell and as a trial shows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from .facts import Machine, Needs
from .finding import Finding, ok, problem, warning

OLDEST = (5, 4)
"""For pidfd_open(2), which is of 5.3, and what this version of Kubernetes is tested with."""
MODULES = ("overlay", "veth", "bridge", "nf_conntrack")
NAMESPACES = ("mnt", "net", "pid", "ipc", "uts", "cgroup")
_CONTAINER = "in a container, on its host"


def examine(machine: Machine) -> Iterator[Finding]:
    version = tuple(int(n) for n in re.findall(r"\d+", machine.release)[:2])
    if version < OLDEST:
        yield problem(
            "kernel",
            f"Linux {machine.release}, and {OLDEST[0]}.{OLDEST[1]} or newer is needed",
            "Install a newer kernel of your distribution and reboot.",
        )
    else:
        yield ok("kernel", f"Linux {machine.release}")
    if not machine.exists("/proc/self"):
        yield problem("kernel files", "/proc is not mounted", "`mount -t proc proc /proc`.")
        return
    yield from _namespaces(machine)
    yield from _modules(machine)


def _namespaces(machine: Machine) -> Iterator[Finding]:
    there = [name for name in NAMESPACES if machine.exists(f"/proc/self/ns/{name}")]
    missing = [name for name in NAMESPACES if name not in there]
    forbidden = [
        name for name in NAMESPACES if machine.number(f"/proc/sys/user/max_{name}_namespaces") == 0
    ]
    if missing and there:
        yield problem(
            "namespaces",
            f"this kernel has none of the kind {', '.join(missing)}",
            "Use a kernel of your distribution.",
        )
    elif forbidden:
        settings = " ".join(f"user.max_{name}_namespaces=15000" for name in forbidden)
        yield problem(
            "namespaces", f"none of the kind {forbidden[0]} is allowed", f"`sysctl -w {settings}`."
        )
    if machine.exists("/proc/self/status") and "Seccomp" not in machine.text("/proc/self/status"):
        yield problem("seccomp", "this kernel has none", "Use a kernel with CONFIG_SECCOMP_FILTER.")


def _modules(machine: Machine) -> Iterator[Finding]:
    """What can be told by files: a kernel need not say what it has built in."""
    folder = f"/lib/modules/{machine.release}"
    index = machine.text(f"{folder}/modules.dep") + machine.text(f"{folder}/modules.builtin")
    absent = [name for name in MODULES if not _has(machine, name, index)]
    if not absent:
        return
    if not index and machine.exists("/lib/modules") and any(machine.path("/lib/modules").iterdir()):
        yield problem(
            "kernel modules",
            f"those of the running kernel {machine.release} are gone: it was updated",
            "Reboot.",
        )
    elif index:
        yield problem(
            "kernel modules",
            f"this kernel has no {', '.join(absent)}",
            f"Install the rest of your kernel's modules (Ubuntu: "
            f"`apt-get install linux-modules-extra-{machine.release}`).",
        )


def _has(machine: Machine, name: str, index: str) -> bool:
    if machine.exists(f"/sys/module/{name}") or re.search(rf"/{name}\.ko", index):
        return True
    if name == "overlay":
        return "\toverlay" in machine.text("/proc/filesystems")
    # Built in or absent: the trial says which.
    return not index


_SCRIPT = """
QUEUES=/proc/net/netfilter/nfnetlink_queue
try() {
    name=$1; shift
    if said=$("$@" 2>&1); then echo "$name|"; else echo "$name|$(echo "$said" | tr '\\n' ' ')"; fi
}
if command -v ip >/dev/null; then
    try bridge ip link add dlstack-try type bridge
    try veth ip link add dlstack-try1 type veth peer name dlstack-try2
fi
if command -v iptables >/dev/null; then
    try nat iptables -w -t nat -A POSTROUTING -m comment --comment try -j MASQUERADE
    try statistic iptables -w -t nat -A OUTPUT -m statistic --mode random --probability 0.5 \
        -p tcp -j DNAT --to-destination 127.0.0.1:1
    try mark iptables -w -t mangle -A OUTPUT -j MARK --or-mark 0x4000
    try conntrack iptables -w -A FORWARD -m conntrack --ctstate INVALID -j DROP
    try owner iptables -w -t mangle -A POSTROUTING -m owner --uid-owner 0 -j RETURN
    try NFQUEUE iptables -w -t mangle -A POSTROUTING -j NFQUEUE --queue-num 100
    test -e $QUEUES || modprobe -q nfnetlink_queue
    try nfnetlink_queue cat $QUEUES
fi
if folder=$(mktemp -d HOME/.try-XXXXXX); then
    mkdir "$folder/lower" "$folder/upper" "$folder/work" "$folder/merged"
    echo 1 > "$folder/lower/file"
    try overlay mount -t overlay overlay "$folder/merged" \
        -o "lowerdir=$folder/lower,upperdir=$folder/upper,workdir=$folder/work"
    if mountpoint -q "$folder/merged"; then
        try whiteout rm "$folder/merged/file"
        umount "$folder/merged"
    fi
    rm -rf "$folder"
fi
"""
_CURES = {
    "overlay": "Set DLSTACK_HOME to a folder on ext4, xfs or btrfs "
    "(in a container: on a volume, as `-v dlstack:/dlstack -e DLSTACK_HOME=/dlstack`).",
    "whiteout": "Set DLSTACK_HOME to a folder on ext4, xfs (ftype=1) or btrfs.",
    "nat": "Try `update-alternatives --set iptables /usr/sbin/iptables-legacy`, or load the kernel "
    "modules nf_tables and nf_nat.",
    "nfnetlink_queue": "`modprobe nfnetlink_queue` or a kernel that has it.",
}
_OF_SEVERAL_NODES = ("owner", "NFQUEUE", "nfnetlink_queue")
"""By these a program decides about connections: a cluster of one node has no such program."""


def trial(machine: Machine, needs: Needs) -> Iterator[Finding]:
    """Make what a node is made of, in namespaces that end with the trial."""
    if not machine.is_root:
        return
    script = _SCRIPT.replace("HOME", shlex.quote(str(machine.nearest(needs.home))))
    status, said = machine.run(["unshare", "--mount", "--net", "sh", "-c", script])
    if status == 127:
        return
    if status:
        yield problem(
            "namespaces",
            f"none can be made: {said.strip()}",
            "In a container, start it with --privileged.",
        )
        return
    tried = [line.partition("|")[::2] for line in said.splitlines() if "|" in line]
    for name, error in tried:
        if error:
            cure = _CURES.get(name, f"`modprobe xt_{name}` or a kernel that has it.")
            if name in ("bridge", "veth"):
                cure = f"`modprobe {name}` ({_CONTAINER})."
            found = error.strip().rstrip(".")
            if name in _OF_SEVERAL_NODES and needs.nodes == 1:
                cure = f"For more than one node (NODES=3 make up) only: {cure}"
                yield warning(f"kernel ({name})", found, cure)
            else:
                yield problem(f"kernel ({name})", found, cure)
    if tried and not any(error for _, error in tried):
        yield ok("tried", f"namespaces, {', '.join(name for name, _ in tried)}")
