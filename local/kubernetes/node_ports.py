"""The process `node-ports`: it opens the node ports of all Services on this machine.

The node has a network of its own. Kubernetes' node ports are there, and at this machine's addresses
are what this process listens to: those of 127.0.0.1, and of more addresses if somebody asks.
It gives Services of type LoadBalancer their addresses, which lead to the node as well.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from ..machine.processes import Daemon
from ..ports import VARIABLE, addresses

NAME = "node-ports"
USER = "dlstack:node-ports"
"""As manifests/node-ports.yaml names it, which says what it may see."""
TAKEN = "another program of this machine has it"
"""As listeners.go says it."""


@dataclass(frozen=True)
class NodePort:
    """A node port of a Service, as it is on this machine."""

    address: str
    port: int
    service: str
    """NAMESPACE/NAME."""
    problem: str
    """Why it is not open there; empty if it is."""


def daemon(folder: Path, program: str | Path, node_ip: str, balancers: IPv4Network) -> Daemon:
    """The process.

    Args:
        folder: of the cluster.
        program: `node-ports` of local/build/go/node.
        node_ip: where the node ports of Kubernetes are.
        balancers: range of the addresses of Services of type LoadBalancer.
    """
    flags: list[str | Path] = [
        *("-kubeconfig", folder / "pki" / f"{NAME}.kubeconfig"),
        *("-addresses", ",".join(addresses())),
        *("-node", node_ip, "-balancers", str(balancers), "-state", _state(folder)),
    ]
    return Daemon(NAME, [program, *flags], folder)


def forget(folder: Path) -> None:
    """Remove what an earlier process said. Before one is started."""
    _state(folder).unlink(missing_ok=True)


def knows(folder: Path) -> bool:
    """Whether the process has heard from the API server which ports there are."""
    return _state(folder).exists()


def read(folder: Path) -> Sequence[NodePort]:
    """The node ports as the process last said; none where there is no such process."""
    try:
        entries = json.loads(_state(folder).read_text())
    except FileNotFoundError:
        return []
    return [NodePort(**entry) for entry in entries]


def problems(folder: Path) -> list[str]:
    """What is to be told of node ports that are not open: one line each, with what to do."""
    return [
        f"{one.address}:{one.port} does not lead to the Service {one.service}: {one.problem}. "
        + (
            f"`ss -ltnp 'sport = :{one.port}'` names it; when it ends, the port is opened."
            if one.problem == TAKEN
            else f"It is tried again every second; {VARIABLE} says which addresses these are."
        )
        for one in read(folder)
        if one.problem
    ]


def _state(folder: Path) -> Path:
    return folder / "node-ports.json"
