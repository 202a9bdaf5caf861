"""The cluster's addresses: four ranges side by side, settable as one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from ..console import LocalError

VARIABLE = "DLSTACK_NETWORK"
DEFAULT = "10.76.0.0/14"
_FILE = "network"


@dataclass(frozen=True)
class Ranges:
    """A /14, of which the second /16 is the nodes', the third the pods', the fourth the services'.

    The first is free, for what is to come.
    """

    all: IPv4Network

    @classmethod
    def parse(cls, text: str) -> Ranges:
        """Read a range as a person writes it.

        Raises:
            LocalError: it is none, or has another size.
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
                "cluster there.",
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
    def pods(self) -> IPv4Network:
        return self._quarter(2)

    @property
    def services(self) -> IPv4Network:
        return self._quarter(3)

    @property
    def node(self) -> IPv4Address:
        """Where the API server, the kubelet and all node ports listen."""
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
