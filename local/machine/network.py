"""The way between this machine and its node: a bridge, a pair of interfaces, IP forwarding."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True)
class NodeNetwork:
    """The node's network on this machine's side; the other end is in the node's namespace."""

    bridge: str
    """Its name; more nodes can have interfaces on it."""
    ranges: Ranges
    record: Path = _MACHINE_WIDE / "dlstack-forwarding"
    """What the machine's forwarding was, for the last cluster of the machine that ends."""

    @property
    def _interface(self) -> str:
        return f"{self.bridge}-1"

    def connect(self, enter: Sequence[str], node: int, dns_port: int | None) -> None:
        """Connect the node with the machine, and the machine's other networks; also once more.

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
            if not _is_there(self._interface):
                peer = ("peer", "name", _INSIDE, "netns", str(node))
                _ip("link", "add", self._interface, "type", "veth", *peer)
            _ip("link", "set", self._interface, "master", self.bridge, "up")
            _ip("address", "replace", f"{ranges.machine}/24", "dev", self.bridge)
            _ip("link", "set", self.bridge, "up")
            _ip("link", "set", "lo", "up", enter=enter)
            _ip("address", "replace", f"{ranges.node}/24", "dev", _INSIDE, enter=enter)
            _ip("link", "set", _INSIDE, "up", enter=enter)
            _ip("route", "replace", "default", "via", str(ranges.machine), enter=enter)
            run(*enter, "nft", "--file", "-", given=self._inside(dns_port))
            self._forward()
            Firewall(self.bridge).open(ranges.nodes)

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
