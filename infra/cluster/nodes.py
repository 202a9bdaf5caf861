"""The nodes of the cluster: whether they have room for a flavour, and where they are reached."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from . import api
from .clusters import Cluster
from .flavour import GIB, Flavour, Taint
from .quantities import quantity


@dataclass(frozen=True)
class Node:
    """A node that may take pods."""

    name: str
    cpu: float
    memory_gib: float
    resources: Mapping[str, str]
    """All that is allocatable, GPUs included."""
    addresses: Mapping[str, str]
    """Address type -> the first address of that type."""
    labels: Mapping[str, str]
    taints: Sequence[Taint]
    """Those that keep pods off."""

    def takes(self, flavour: Flavour) -> bool:
        """Say whether labels and taints let a pod of `flavour` run here."""
        return flavour.node_selector.items() <= self.labels.items() and all(
            any(toleration.covers(taint) for toleration in flavour.tolerations)
            for taint in self.taints
        )

    def holds(self, flavour: Flavour) -> int:
        """Return how many pods of `flavour` fit when nothing else runs here."""
        if not self.takes(flavour):
            return 0
        fit = [self.cpu // flavour.cpu, self.memory_gib // flavour.memory_gib]
        if flavour.gpus:
            fit.append(self.gpus(flavour) // flavour.gpus)
        return int(min(fit))

    def gpus(self, flavour: Flavour) -> int:
        """Return the number of GPUs of the kind that `flavour` asks for."""
        return int(self.resources.get(flavour.gpu_resource, "0"))


def usable(cluster: Cluster) -> list[Node]:
    """Return the nodes that may take pods, by name; those with taints come last."""
    found = [
        _node(item)
        for item in api.items(cluster, "/api/v1/nodes")
        if not item["spec"].get("unschedulable")
    ]
    if not found:
        raise pulumi.RunError(
            "The cluster has no node that takes pods. Add one, or wait until it is Ready "
            "('kubectl get nodes' shows them)."
        )
    return sorted(found, key=lambda node: (bool(node.taints), node.name))


def require_room(found: Sequence[Node], flavour: Flavour, key: str, pods: int = 1) -> None:
    """Raise unless the nodes hold `pods` of `flavour`: one would be pending for ever."""
    held = sum(node.holds(flavour) for node in found)
    if held >= pods:
        return
    if held:
        raise pulumi.RunError(
            f"dlstack:nodeCount is {pods}, but the cluster's nodes have room for only {held} pods "
            f"of {key} {flavour}. Set a lower nodeCount, choose a smaller flavour, or add nodes."
        )
    taking = [node for node in found if node.takes(flavour)]
    if not taking:
        wanted = ", ".join(f"{k}={v}" for k, v in flavour.node_selector.items()) or "none"
        raise pulumi.RunError(
            f"No node accepts {key} {flavour}: each node lacks a label that the flavour selects "
            f"({wanted}), or has a taint that it doesn't tolerate. Correct its nodeSelector and "
            "tolerations in dlstack:flavours, or label a node."
        )
    biggest = max(taking, key=lambda node: (node.gpus(flavour), node.cpu, node.memory_gib))
    raise pulumi.RunError(
        f"{key} {flavour} is too big for every node that accepts it. The biggest, "
        f"'{biggest.name}', has {biggest.cpu:g} cores, {biggest.memory_gib:.1f} GiB and "
        f"{biggest.gpus(flavour)} GPU. Choose a smaller flavour, or add a node."
    )


def address(found: Sequence[Node]) -> str:
    """Return an address of a node under which its node ports can be reached."""
    for kind in ("ExternalIP", "InternalIP"):
        for node in found:
            if kind in node.addresses:
                return node.addresses[kind]
    raise pulumi.RunError("No node of the cluster has an address. Set dlstack:host.")


def _node(item: Mapping[str, Any]) -> Node:
    allocatable = item["status"]["allocatable"]
    addresses: dict[str, str] = {}
    for entry in item["status"].get("addresses", []):
        addresses.setdefault(entry["type"], entry["address"])
    return Node(
        name=item["metadata"]["name"],
        cpu=quantity(allocatable["cpu"]),
        memory_gib=quantity(allocatable["memory"]) / GIB,
        resources=allocatable,
        addresses=addresses,
        labels=item["metadata"].get("labels", {}),
        taints=[
            Taint(key=taint["key"], value=taint.get("value", ""), effect=taint["effect"])
            for taint in item["spec"].get("taints", [])
            if taint["effect"] != "PreferNoSchedule"
        ],
    )
