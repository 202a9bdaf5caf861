"""Addresses and names: routes that overlap the cluster's, name servers, ports, IPv6."""

from __future__ import annotations

import fnmatch
import ipaddress
import json
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network

from ..ranges import PRIVATE
from .facts import Machine, Needs
from .finding import Finding, ok, problem, warning

_LISTEN = "0A"  # include/net/tcp_states.h
_EVERYWHERE = "0.0.0.0"
_DEFAULT = ipaddress.IPv4Network("0.0.0.0/0")

Route = tuple[IPv4Network, str]
"""A range and the device that leads there."""


def examine(machine: Machine, needs: Needs, every_route: bool) -> Iterator[Finding]:
    """Look at all of it.

    Args:
        every_route: also those outside the main table, which takes a process.
    """
    yield _overlaps(machine, needs, every_route)
    yield from _resolver(machine, needs)
    if not needs.running:
        yield from _ports(machine, needs)
    if machine.text("/proc/sys/net/ipv6/conf/all/disable_ipv6").strip() != "0":
        yield ok("IPv6", "off, and not needed")


def routes(machine: Machine, every_route: bool) -> list[Route]:
    """Where this machine reaches what, without the default route.

    Args:
        every_route: also of other tables than the main one: programs such as WireGuard have some.
    """
    status, said = machine.run(_ALL_ROUTES) if every_route else (127, "")
    if status:
        found = _main_table(machine.text("/proc/net/route"))
    else:
        found = [
            (IPv4Network(route["dst"], strict=False), route.get("dev", ""))
            for route in json.loads(said or "[]")
            if route["dst"] != "default" and route.get("type") not in ("broadcast", "multicast")
        ]
    return [(net, device) for net, device in found if net != _DEFAULT and not net.is_loopback]


_ALL_ROUTES = ["ip", "-json", "-4", "route", "show", "table", "all"]


def _main_table(text: str) -> list[Route]:
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8:
            continue
        # In the byte order of the machine, which is little-endian on every one that we run on.
        address, mask = (
            int.from_bytes(bytes.fromhex(fields[column]), "little") for column in (1, 7)
        )
        found.append((IPv4Network((address, bin(mask).count("1"))), fields[0]))
    return found


def free_network(taken: Iterable[IPv4Network], wanted: IPv4Network) -> IPv4Network | None:
    """A range of private addresses as large as `wanted` that overlaps none of `taken`."""
    used = list(taken)
    for whole in PRIVATE:
        candidates = list(IPv4Network(whole).subnets(new_prefix=wanted.prefixlen))
        # The first ones are what others take.
        for candidate in reversed(candidates):
            if not any(candidate.overlaps(one) for one in used):
                return candidate
    return None


def _overlaps(machine: Machine, needs: Needs, every_route: bool) -> Finding:
    known = [
        (net, device)
        for net, device in routes(machine, every_route)
        if not any(fnmatch.fnmatch(device, pattern) for pattern in needs.devices)
    ]
    inside = [(net, device) for net, device in known if net.overlaps(needs.network)]
    servers = [
        IPv4Network(one) for one in name_servers(machine.text("/etc/resolv.conf")) if ":" not in one
    ]
    asked = [server for server in servers if server.overlaps(needs.network)]
    if not inside and not asked:
        return ok("addresses", f"{needs.network} is free")
    free = free_network([*(net for net, _ in known), *servers], needs.network)
    cure = f"Set DLSTACK_NETWORK={free or 'RANGE/14'} before the cluster is made"
    if needs.made:
        cure += " (with another DLSTACK_HOME, or after `make down` and `rm -r` of the old one)"
    if asked:
        shown = f"the name server {asked[0].network_address} is in it"
        return problem("addresses", f"{needs.network} is the cluster's, and {shown}", f"{cure}.")
    shown = ", ".join(f"{net} ({device})" for net, device in inside[:3])
    if any(net.prefixlen >= needs.network.prefixlen for net, _ in inside):
        shown = f"{needs.network} is the cluster's, and overlaps {shown}"
        return problem("addresses", shown, f"{cure}.")
    shown = f"{needs.network} is the cluster's, of {shown}, which is not reached there"
    if needs.made:
        return ok("addresses", shown)
    return warning("addresses", shown, f"If you need a host there: {cure[0].lower()}{cure[1:]}.")


def name_servers(text: str) -> list[str]:
    """Addresses of the name servers of a resolv.conf that are addresses."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["nameserver"] and len(words) > 1:
            try:
                found.append(str(ipaddress.ip_address(words[1].partition("%")[0])))
            except ValueError:
                continue
    return found


def _resolver(machine: Machine, needs: Needs) -> Iterator[Finding]:
    servers = name_servers(machine.text("/etc/resolv.conf"))
    if not servers:
        yield warning(
            "name servers",
            "/etc/resolv.conf names none: pods find each other, and nothing outside",
            "Name one there if jobs or a store of yours need names.",
        )
    elif any(ipaddress.ip_address(server).is_loopback for server in servers):
        yield ok("name servers", f"{', '.join(servers)}, which pods ask by way of the cluster")
    else:
        yield ok("name servers", ", ".join(servers))


def _ports(machine: Machine, needs: Needs) -> Iterator[Finding]:
    taken = _listeners(machine)
    for port, purpose in needs.ports.items():
        there = taken.get(port, {})
        wanted = {_EVERYWHERE, *needs.addresses}
        inodes = [inode for address, inode in there.items() if address in wanted]
        if not inodes and _EVERYWHERE in needs.addresses:
            inodes = list(there.values())
        if inodes:
            user = _program(machine, inodes[0]) or "another program"
            yield ok(f"port {port}", f"in use by {user}: {purpose} get another")


def _listeners(machine: Machine) -> dict[int, dict[str, str]]:
    """Ports on which somebody listens: by address (IPv4, or everywhere) the socket's inode."""
    found: dict[int, dict[str, str]] = {}
    for file in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in machine.text(file).splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTEN:
                shown, _, port = fields[1].rpartition(":")
                number = int.from_bytes(bytes.fromhex(shown), "little")
                if number < 2**32:
                    found.setdefault(int(port, 16), {})[str(IPv4Address(number))] = fields[9]
    return found


def _program(machine: Machine, inode: str) -> str:
    """Name and id of the process that has a socket; empty where it can't be told."""
    for process in machine.path("/proc").glob("[0-9]*"):
        try:
            if any(str(f.readlink()) == f"socket:[{inode}]" for f in (process / "fd").iterdir()):
                name = (process / "comm").read_text().strip()
                return f"{name} (process {process.name})"
        except OSError:
            continue
    return ""
