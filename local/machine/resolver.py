"""The name servers that the node and its pods ask: this machine's, or this machine itself."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from .ranges import Ranges

PORT = 1053
"""Of this machine's address on the bridge. Not 53, where another server may listen."""
FILE = "resolv.conf"
COREFILE = "resolver.Corefile"
_SYSTEM = Path("/etc/resolv.conf")


def is_needed(text: str) -> bool:
    """Whether the machine's name servers are out of reach for the node.

    These are servers of the loopback interface (systemd-resolved, dnsmasq), and those of IPv6.

    Args:
        text: content of the machine's resolv.conf.
    """
    servers = _servers(text)
    return bool(servers) and (_is_loopback(servers[0]) or not any(map(_is_reachable, servers)))


def write(folder: Path, ranges: Ranges, system: Path = _SYSTEM) -> bool:
    """Write the node's resolv.conf, and the configuration of the server that it may name.

    Returns:
        Whether that server has to run on this machine.
    """
    text = system.read_text() if system.exists() else ""
    needed = is_needed(text)
    servers = [str(ranges.machine)] if needed else [*filter(_is_reachable, _servers(text))]
    others = [line for line in text.splitlines() if line.split()[:1] in (["search"], ["options"])]
    lines = [*others, *(f"nameserver {server}" for server in servers)]
    (folder / FILE).write_text("".join(f"{line}\n" for line in lines))
    (folder / COREFILE).write_text(
        f".:{PORT} {{\n"
        f"    bind {ranges.machine}\n"
        "    errors\n"
        f"    forward . {system}\n"
        "    cache 5\n"
        "}\n"
    )
    return needed


def _servers(text: str) -> list[str]:
    words = (line.split() for line in text.splitlines())
    return [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]


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
