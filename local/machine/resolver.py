"""The name servers that the node and its pods ask: this machine's, or this machine itself."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from .name_relay import SYSTEM, servers
from .ranges import Ranges

PORT = 1053
"""Of this machine's address on the bridge. Not 53, where another server may listen."""
FILE = "resolv.conf"


def is_needed(text: str) -> bool:
    """Whether the machine's name servers are out of reach for the node.

    These are servers of the loopback interface (systemd-resolved, dnsmasq), and those of IPv6.

    Args:
        text: content of the machine's resolv.conf.
    """
    listed = servers(text)
    return bool(listed) and (_is_loopback(listed[0]) or not any(map(_is_reachable, listed)))


def write(folder: Path, ranges: Ranges, system: Path = SYSTEM) -> bool:
    """Write the node's resolv.conf.

    Returns:
        Whether it names this machine, where the process of `name_relay` has to run.
    """
    text = system.read_text() if system.exists() else ""
    needed = is_needed(text)
    listed = [str(ranges.machine)] if needed else [*filter(_is_reachable, servers(text))]
    others = [line for line in text.splitlines() if line.split()[:1] in (["search"], ["options"])]
    lines = [*others, *(f"nameserver {server}" for server in listed)]
    (folder / FILE).write_text("".join(f"{line}\n" for line in lines))
    return needed


def _is_loopback(server: str) -> bool:
    address = _address(server)
    return address is not None and address.is_loopback


def _is_reachable(server: str) -> bool:
    address = _address(server)
    return address is not None and address.version == 4 and not address.is_loopback


def _address(server: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(server)
    except ValueError:
        return None
