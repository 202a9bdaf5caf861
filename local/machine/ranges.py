"""The cluster's addresses: four ranges side by side, settable as one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from ..console import LocalError

VARIABLE = "DLSTACK_NETWORK"
DEFAULT = "10.76.0.0/14"
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "100.64.0.0/10")
"""Whose addresses are no host's of the internet."""
_FILE = "network"


@dataclass(frozen=True)
class Ranges:
    """A /14, of which each /16 has its part: balancers, nodes, pods and services, in this order."""

    all: IPv4Network

    @classmethod
    def parse(cls, text: str) -> Ranges:
        """Read a range as a person writes it.

        Raises:
            LocalError: it is none, has another size, or hosts of the internet are in it.
        """
        try:
            network = IPv4Network(text)
        except ValueError as error:
            raise LocalError(
                f"{VARIABLE} is '{text}': {error}.", f"Set it to a range such as {DEFAULT}."
            ) from error
        if network.prefixlen != 14:
            raise LocalError(
                f"{VARIABLE} is '{text}', of another size than a /14.",
                f"Set it to a range such as {DEFAULT}.",
            )
        if not any(network.subnet_of(IPv4Network(whole)) for whole in PRIVATE):
            raise LocalError(
                f"{VARIABLE} is '{text}', which is no range of private addresses.",
                f"Set it to one in {', '.join(PRIVATE)}, such as {DEFAULT}.",
            )
        return cls(network)

    @classmethod
    def of_cluster(cls, folder: Path) -> Ranges:
        """The ranges of the cluster in `folder`; of one that is still to be made, those asked for.

        Raises:
            LocalError: the environment asks for others than the cluster was made with.
        """
        asked = os.environ.get(VARIABLE)
        file = folder / _FILE
        if file.exists():
            kept = file.read_text().strip()
        elif (folder / "pki").exists():  # Made before it could be set.
            kept = DEFAULT
        else:
            return cls.parse(asked or DEFAULT)
        if asked and cls.parse(asked) != cls.parse(kept):
            raise LocalError(
                f"{VARIABLE} is '{asked}', and the cluster in {folder} was made with '{kept}'.",
                f"Unset {VARIABLE}, or set DLSTACK_HOME to another folder to have a second "
                f"cluster there. To make this one anew: `make down` without {VARIABLE}, then "
                f"`rm -r {folder}`.",
            )
        return cls.parse(kept)

    def keep(self, folder: Path) -> None:
        """Write them down for as long as the cluster in `folder` is there."""
        (folder / _FILE).write_text(f"{self.all}\n")

    @property
    def nodes(self) -> IPv4Network:
        """Of the machine's bridge and what is on it."""
        return IPv4Network((self._quarter(1).network_address, 24))

    @property
    def balancers(self) -> IPv4Network:
        """Of Services of type LoadBalancer."""
        return self._quarter(0)

    @property
    def pods(self) -> IPv4Network:
        return self._quarter(2)

    def pods_of(self, node: int) -> IPv4Network:
        """The part of `pods` that a node has: half of it for the first, a /24 for each other.

        Args:
            node: its number, from 1.
        """
        if node == 1:
            return next(self.pods.subnets(new_prefix=17))
        return IPv4Network((self.pods[256 * (128 + node)], 24))

    @property
    def services(self) -> IPv4Network:
        return self._quarter(3)

    @property
    def node(self) -> IPv4Address:
        """Where the API server and the first node's kubelet and node ports listen."""
        return self.nodes[1]

    @property
    def machine(self) -> IPv4Address:
        """Where pods and the node reach what listens on this machine."""
        return self.nodes[254]

    @property
    def api_service(self) -> IPv4Address:
        return self.services[1]

    @property
    def dns_service(self) -> IPv4Address:
        return self.services[10]

    def _quarter(self, index: int) -> IPv4Network:
        return list(self.all.subnets(new_prefix=16))[index]
