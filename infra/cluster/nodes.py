"""The nodes of the cluster: whether they have room for a flavour, and where they are reached."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from . import api
from .clusters import Cluster
from .flavour import DISK, GIB, Flavour, Taint
from .quantities import quantity
from .scale import Scale

_PASSING = "node.kubernetes.io/"
"""Begins the taints that Kubernetes itself puts on a node, and takes away: not ready, cordoned,
short of disk, …"""

_FIXED = ("", "kind", "k3s", "minikube")
"""Schemes of `spec.providerID` where no cloud makes nodes."""


@dataclass(frozen=True)
class Node:
    """A node, as it is when nothing runs there."""

    name: str
    cpu: float
    memory_gib: float
    resources: Mapping[str, str]
    """All that is allocatable, GPUs included."""
    addresses: Mapping[str, str]
    """Address type -> the first address of that type."""
    labels: Mapping[str, str]
    taints: Sequence[Taint]
    """Those that keep pods off, and stay."""
    is_open: bool
    """False: it takes no pods for the time being; it is cordoned, not ready, short of disk, …"""
    provider: str
    """What made it, as `gce` or `kind`; may be empty."""

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
        wanted = flavour.disk_gib or flavour.data_gib
        # Some nodes say nothing of their disks.
        if wanted and DISK in self.resources:
            fit.append(self.disk_gib // wanted)
        return int(min(fit))

    @property
    def disk_gib(self) -> float:
        """Return the GiB of disk that pods may reserve."""
        return quantity(self.resources.get(DISK, "0")) / GIB

    def gpus(self, flavour: Flavour) -> int:
        """Return the number of GPUs of the kind that `flavour` asks for."""
        return int(self.resources.get(flavour.gpu_resource, "0"))


def listed(cluster: Cluster) -> list[Node] | None:
    """Return the nodes by name, those first that take pods; None if nobody may list them."""
    try:
        found = [_node(item) for item in api.items(cluster, "/api/v1/nodes")]
    except api.Forbidden:
        return None
    return sorted(found, key=lambda node: (not node.is_open, bool(node.taints), node.name))


def may_grow(found: Sequence[Node]) -> bool:
    """Say whether a cloud made one of the nodes, and so may make more when pods wait for them."""
    return any(node.provider not in _FIXED for node in found)


def lack(found: Sequence[Node], flavour: Flavour, key: str, pods: int = 1) -> str | None:
    """Return why the nodes don't hold `pods` of `flavour`, in whole sentences; None if they do."""
    held = sum(node.holds(flavour) for node in found)
    if held >= pods:
        return None
    if not found:
        return (
            "The cluster has no node that takes pods. Add one, or wait until it is Ready "
            "('kubectl get nodes' shows them)."
        )
    if held:
        return (
            f"dlstack:nodeCount is {pods}, but the cluster's nodes have room for only {held} pods "
            f"of {key} {flavour}. Set a lower nodeCount, choose a smaller flavour, or add nodes."
        )
    taking = [node for node in found if node.takes(flavour)]
    if not taking:
        wanted = ", ".join(f"{k}={v}" for k, v in flavour.node_selector.items()) or "none"
        return (
            f"No node accepts {key} {flavour}: each node lacks a label that the flavour selects "
            f"({wanted}), or has a taint that it doesn't tolerate. Correct its nodeSelector and "
            "tolerations in dlstack:flavours, or label a node."
        )
    if (size := flavour.disk_gib or flavour.data_gib) is not None:
        undemanding = dataclasses.replace(flavour, disk_gib=None, data_gib=None)
        others = [node for node in taking if node.holds(undemanding)]
        if others:
            roomy = max(others, key=lambda node: node.disk_gib)
            whose = (
                f"{key} {flavour}" if flavour.disk_gib else "dlstack:dataDir with what is beside"
            )
            return (
                f"No node has the disk for {whose}: {size:g} GiB. The biggest, of '{roomy.name}', "
                f"has {roomy.disk_gib:.1f} GiB for pods. Add a node with a bigger one, or set "
                "dlstack:dataMode to 'stream'."
            )
    biggest = max(taking, key=lambda node: (node.gpus(flavour), node.cpu, node.memory_gib))
    return (
        f"{key} {flavour} is too big for every node that accepts it. The biggest, "
        f"'{biggest.name}', has {biggest.cpu:g} cores, {biggest.memory_gib:.1f} GiB and "
        f"{biggest.gpus(flavour)} GPU. Choose a smaller flavour, or add a node."
    )


def have_room_for_one_more(found: Sequence[Node], flavour: Flavour, scale: Scale) -> bool:
    """Say whether a Deployment of `flavour` can have a new pod before an old one ends.

    Only that needs room for one pod more than it has. If it never has less than two, an old one
    may go first. A node that is cordoned, or away, counts: what a Deployment is like must not
    change for as long as a node is emptied, or a service stop for its next version because of it.
    """
    most = scale.most or scale.least
    held = sum(node.holds(flavour) for node in found)
    return held > (most if scale.least > 1 else scale.least)


def address(found: Sequence[Node]) -> str:
    """Return an address of a node under which its node ports can be reached."""
    for kind in ("ExternalIP", "InternalIP"):
        for node in found:
            if kind in node.addresses:
                return node.addresses[kind]
    raise pulumi.RunError("No node of the cluster has an address. Set dlstack:host.")


def _node(item: Mapping[str, Any]) -> Node:
    spec, status = item["spec"], item.get("status", {})
    # A node that has just joined tells nothing yet.
    allocatable = status.get("allocatable") or {}
    addresses: dict[str, str] = {}
    for entry in status.get("addresses") or []:
        addresses.setdefault(entry["type"], entry["address"])
    taints = [
        Taint(key=taint["key"], value=taint.get("value", ""), effect=taint["effect"])
        for taint in spec.get("taints") or []
        if taint["effect"] != "PreferNoSchedule"
    ]
    lasting = [taint for taint in taints if not taint.key.startswith(_PASSING)]
    return Node(
        name=item["metadata"]["name"],
        cpu=quantity(allocatable.get("cpu", "0")),
        memory_gib=quantity(allocatable.get("memory", "0")) / GIB,
        resources=allocatable,
        addresses=addresses,
        labels=item["metadata"].get("labels") or {},
        taints=lasting,
        is_open=not spec.get("unschedulable") and len(lasting) == len(taints),
        provider=str(spec.get("providerID") or "").partition("://")[0],
    )
