"""Ports that `make up` opens on this machine: at which addresses, and the one that has a number."""

from __future__ import annotations

import ipaddress
import os
import socket

from .console import LocalError

VARIABLE = "DLSTACK_ADDRESS"
RANGE_VARIABLE = "DLSTACK_NODE_PORTS"
_DEFAULT_RANGE = range(30000, 32768)
"""As Kubernetes has it."""
_LOWEST = 1024
_RANGE_EXAMPLE = "28000-28999"
LOOPBACK = "127.0.0.1"
_EVERYWHERE = "0.0.0.0"
GRPC_NODE_PORT = 31670
"""Of a new stack's predictions. If it is not free, the cluster gives another."""


def node_ports() -> range:
    """The node ports that the cluster gives to Services: those of DLSTACK_NODE_PORTS, if it is set.

    Two clusters of one machine, each of which chooses by itself, choose the same port some time.

    Raises:
        LocalError: the variable is no range, or has ports that programs choose by themselves.
    """
    text = os.environ.get(RANGE_VARIABLE, "")
    if not text:
        return _DEFAULT_RANGE
    low, _, high = text.partition("-")
    last = _DEFAULT_RANGE.stop - 1
    if not (low.isdecimal() and high.isdecimal() and _LOWEST <= int(low) < int(high) <= last):
        raise LocalError(
            f"{RANGE_VARIABLE} is '{text}', no range of ports from {_LOWEST} to {last}.",
            f"Set it to a range such as {_RANGE_EXAMPLE}, or unset it.",
        )
    return range(int(low), int(high) + 1)


def is_free(port: int) -> bool:
    """Whether nobody listens there on this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def addresses() -> list[str]:
    """Where node ports are open: 127.0.0.1, which `make` itself uses, and those of DLSTACK_ADDRESS.

    Raises:
        LocalError: one of them is not an IP address, or not of this machine.
    """
    listed = [word.strip() for word in os.environ.get(VARIABLE, "").split(",") if word.strip()]
    for address in listed:
        _check(address)
    if _EVERYWHERE in listed:
        return [_EVERYWHERE, *(one for one in listed if ":" in one)]
    return list(dict.fromkeys([LOOPBACK, *listed]))


def _check(address: str) -> None:
    cure = (
        "Name addresses of this machine (`ip -brief address`) with commas between them, or "
        f"{_EVERYWHERE} for all of IPv4. Without it, only {LOOPBACK} is taken."
    )
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        raise LocalError(f"{VARIABLE} has '{address}', which is not an IP address.", cure) from None
    try:
        with socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET) as probe:
            probe.bind((address, 0))
    except OSError as error:
        raise LocalError(
            f"{VARIABLE} has '{address}', where this machine can't listen ({error.strerror}).", cure
        ) from None
