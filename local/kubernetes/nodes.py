"""The nodes of a cluster: what each is called and where it is."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from ..machine.ranges import Ranges

FIRST = "dlstack"
"""Name of the node that has the control plane."""
FOLDER = "nodes"
"""In the cluster's folder: what the nodes beside the first keep, a folder for each."""


@dataclass(frozen=True)
class Node:
    number: int
    """From 1: the node that has the control plane."""
    ranges: Ranges
    """Of the cluster."""

    @property
    def name(self) -> str:
        return FIRST if self.number == 1 else f"{FIRST}-{self.number}"

    @property
    def address(self) -> IPv4Address:
        """Where its kubelet and the node ports listen."""
        return self.ranges.nodes[self.number]

    @property
    def pods(self) -> IPv4Network:
        """The addresses of its pods."""
        return self.ranges.pods_of(self.number)
