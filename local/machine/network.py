"""The way between this machine and its node: a bridge, a pair of interfaces, IP forwarding."""

import fcntl
import json
import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .. import node_count
from ..console import say
from .cgroups import BOOT
from .checks import MachineError
from .firewall import Firewall
from .processes import run
from .ranges import Ranges

PREFIX = "dlstack-"
"""What the names of all bridges of ours begin with: so one cluster knows that of another."""
_INSIDE = "eth0"
_CONF = Path("/proc/sys/net/ipv4")
_MACHINE_WIDE = Path("/run")
QUEUE = 100
"""Number of the kernel's queue for packets that a program decides about."""
_DECIDED = "DLSTACK-POLICIES"


@dataclass(frozen=True)
class NodeNetwork:
    """A node's network on this machine's side; the other end is in the node's namespace."""

    bridge: str
    """Its name; every node has an interface on it."""
    ranges: Ranges
    record: Path = _MACHINE_WIDE / "dlstack-forwarding"
    """What the machine's forwarding was, for the last cluster of the machine that ends."""
    node: int = 1
    """Number of the node, from 1 to `node_count.MOST`."""

    @property
    def _interface(self) -> str:
        return f"{self.bridge}-{self.node}"

    @property
    def _address(self) -> str:
        return str(self.ranges.nodes[self.node])

    def connect(self, enter: Sequence[str], node: int, dns_port: int | None) -> None:
        """Connect the first node with the machine and its other networks; also once more.

        Args:
            enter: the words before a command that is to run in the node's namespaces.
            node: id of a process in them.
            dns_port: where this machine answers the node's questions for names, if it does.

        Raises:
            MachineError: the machine refuses.
        """
        ranges = self.ranges
        with _alone():
            self._refuse_what_others_have()
            if not _is_there(self.bridge):
                _ip("link", "add", self.bridge, "type", "bridge")
            _ip("address", "replace", f"{ranges.machine}/24", "dev", self.bridge)
            _ip("link", "set", self.bridge, "up")
            self._plug(enter, node, dns_port)
            # Its kube-proxy knows all balancers' addresses.
            way = ("via", self._address, "dev", self.bridge)
            _ip("route", "replace", str(ranges.balancers), *way)
            self._forward()
            Firewall(self.bridge).open(ranges.nodes)

    def connect_another(
        self, enter: Sequence[str], node: int, dns_port: int | None, first: Sequence[str]
    ) -> None:
        """Connect one more node with the machine and the nodes before it; also once more.

        Args:
            enter, node, dns_port: as for `connect`.
            first: the words before a command that is to run in the first node's namespaces.

        Raises:
            MachineError: the machine refuses.
        """
        self._plug(enter, node, dns_port)
        others = [number for number in range(1, node_count.MOST + 1) if number != self.node]
        self._route(enter, others)
        self._route(first, [self.node])

    def queue_connections(self, enter: Sequence[str]) -> None:
        """Have a program decide about each connection of the node's pods: by its first packet.

        While no program does, there are no new ones. What the node's own processes ask, such as
        the kubelet's probes, is nobody's to decide. By iptables: not every kernel that has the
        queue lets nftables use it.

        Args:
            enter: the words before a command that is to run in the node's namespaces.

        Raises:
            MachineError: the kernel has no such queue.
        """
        pods = self.ranges.pods_of(self.node)
        chain = f"-A {_DECIDED}"
        rules = f"""
*mangle
:{_DECIDED} - [0:0]
{chain} -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN
{chain} -m owner --uid-owner 0 -j RETURN
{chain} -d {pods} -j NFQUEUE --queue-num {QUEUE}
{chain} -s {pods} -j NFQUEUE --queue-num {QUEUE}
COMMIT
"""
        run(*enter, "iptables-restore", "--wait", "--noflush", given=rules)
        jump = ("POSTROUTING", "--jump", _DECIDED)
        table = (*enter, "iptables", "--wait", "--table", "mangle")
        if subprocess.run([*table, "--check", *jump], capture_output=True).returncode:
            run(*table, "--append", *jump)

    def pass_connections(self, enter: Sequence[str]) -> None:
        """Undo `queue_connections`, in namespaces that may have been made anew since.

        Raises:
            MachineError: the machine refuses.
        """
        table = (*enter, "iptables", "--wait", "--table", "mangle")
        if subprocess.run([*table, "--list", _DECIDED], capture_output=True).returncode:
            return
        run(*table, "--delete", "POSTROUTING", "--jump", _DECIDED)
        run(*table, "--flush", _DECIDED)
        run(*table, "--delete-chain", _DECIDED)

    def are_decided(self, enter: Sequence[str]) -> bool:
        """Whether a program takes packets from the queue.

        Args:
            enter: the words before a command that is to run in the node's namespaces.
        """
        queues = run(*enter, "cat", "/proc/net/netfilter/nfnetlink_queue")
        return any(line.split()[:1] == [str(QUEUE)] for line in queues.splitlines())

    def cut(self) -> None:
        """Have the node reach nobody, and nobody it. Connections that are open hang.

        Raises:
            MachineError: the node is not connected.
        """
        _ip("link", "set", self._interface, "down")

    def join(self) -> None:
        """Undo `cut`.

        Raises:
            MachineError: the node is not connected.
        """
        _ip("link", "set", self._interface, "up")

    def unplug(self) -> None:
        """Remove the node's interface, unless it has gone with the node's namespace."""
        _remove(self._interface)

    def _plug(self, enter: Sequence[str], node: int, dns_port: int | None) -> None:
        """Give the node its interface, address and table of nftables."""
        if not _is_there(self._interface):
            peer = ("peer", "name", _INSIDE, "netns", str(node))
            _ip("link", "add", self._interface, "type", "veth", *peer)
        _ip("link", "set", self._interface, "master", self.bridge, "up")
        _ip("link", "set", "lo", "up", enter=enter)
        _ip("address", "replace", f"{self._address}/24", "dev", _INSIDE, enter=enter)
        _ip("link", "set", _INSIDE, "up", enter=enter)
        _ip("route", "replace", "default", "via", str(self.ranges.machine), enter=enter)
        run(*enter, "nft", "--file", "-", given=self._inside(dns_port))

    def _route(self, enter: Sequence[str], nodes: Sequence[int]) -> None:
        """Lead to the pods of nodes, in the namespaces that `enter` enters."""
        routes = (
            f"route replace {self.ranges.pods_of(node)} via {self.ranges.nodes[node]} dev {_INSIDE}"
            for node in nodes
        )
        run(*enter, "ip", "-batch", "-", given="\n".join(routes))

    def _refuse_what_others_have(self) -> None:
        """Raise if addresses of ours are another cluster's, which begins at the same time."""
        said = run("ip", "-json", "-4", "address", "show", "to", str(self.ranges.all))
        # Some versions list the others as empty objects.
        names = {entry.get("ifname", "") for entry in json.loads(said or "[]")} - {self.bridge}
        if others := [name for name in names if name.startswith(PREFIX)]:
            raise MachineError(
                f"{others[0]}, of another cluster, has addresses in {self.ranges.all}.",
                "Set DLSTACK_NETWORK to another range before the cluster is made.",
            )

    def _inside(self, dns_port: int | None) -> str:
        """The table of nftables in the node's namespace, beside those of Kubernetes."""
        ranges = self.ranges
        asked = [
            f"ip daddr {ranges.machine} {protocol} dport 53 dnat to {ranges.machine}:{dns_port}"
            for protocol in ("udp", "tcp")
            if dns_port
        ]
        to_machine = "\n".join(asked)
        return f"""
table ip dlstack {{}}
delete table ip dlstack
table ip dlstack {{
    chain leaving {{
        type nat hook postrouting priority srcnat
        ip saddr {ranges.pods} ip daddr != {ranges.pods} oifname {_INSIDE} masquerade
    }}
    chain from_pods {{
        type nat hook prerouting priority dstnat
        {to_machine}
    }}
    chain from_node {{
        type nat hook output priority -100
        {to_machine}
    }}
}}
"""

    def disconnect(self) -> None:
        """Undo `connect`. What others have on this machine stays.

        Raises:
            MachineError: the machine refuses.
        """
        with _alone():
            Firewall(self.bridge).close()
            for interface in (self._interface, self.bridge):
                _remove(interface)
            if not any(name.startswith(PREFIX) for name in _interfaces()):
                self._restore()

    def _forward(self) -> None:
        """Have the machine forward between its networks; what else this changes is kept."""
        if (_CONF / "ip_forward").read_text().strip() == "1":
            return
        settings = ["conf/all/accept_redirects"]
        settings += [f"conf/{path.name}/forwarding" for path in (_CONF / "conf").iterdir()]
        before = {
            "boot": BOOT.read_text().strip(),
            "interfaces": _interfaces(),
            "settings": {name: (_CONF / name).read_text().strip() for name in settings},
        }
        self.record.write_text(json.dumps(before))
        (_CONF / "ip_forward").write_text("1")

    def _restore(self) -> None:
        try:
            before = json.loads(self.record.read_text())
        except (FileNotFoundError, ValueError):
            return
        came = set(_interfaces()) - set(before.get("interfaces", _interfaces()))
        if before["boot"] != BOOT.read_text().strip():
            pass
        elif came:
            # Docker, a virtual machine or a tunnel: found it on, and would have set it.
            say(f"{_CONF / 'ip_forward'} stays 1: {', '.join(sorted(came))} came meanwhile")
        else:
            # First, since it sets all the others.
            (_CONF / "ip_forward").write_text("0")
            for name, value in before["settings"].items():
                if (_CONF / name).exists() and (_CONF / name).read_text().strip() != value:
                    (_CONF / name).write_text(value)
        self.record.unlink()


@contextmanager
def _alone() -> Iterator[None]:
    """Hold a lock of all clusters of this machine; it leaves no file."""
    descriptor = os.open(_MACHINE_WIDE, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _interfaces() -> list[str]:
    return [name for _, name in socket.if_nameindex()]


def _is_there(interface: str) -> bool:
    return interface in _interfaces()


def _remove(interface: str) -> None:
    try:
        if _is_there(interface):
            _ip("link", "delete", interface)
    except MachineError:
        # One of a pair goes with the other's namespace, at a moment of the kernel's choice.
        if _is_there(interface):
            raise


def _ip(*words: str, enter: Sequence[str] = ()) -> None:
    run(*enter, "ip", *words)
