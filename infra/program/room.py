"""Whether the cluster has room for the pods of the stack, and under which address it is reached."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pulumi

from ..cluster import nodes
from ..cluster.clusters import Cluster
from ..cluster.flavour import Flavour
from ..cluster.nodes import Node
from ..settings.settings import Settings
from .plan import Plan


@dataclass(frozen=True)
class _Wanted:
    """Pods that are to run."""

    flavour: Flavour
    key: str
    """The configuration key that chooses the flavour."""
    pods: int = 1


@dataclass(frozen=True)
class Room:
    """What the cluster's nodes are for the stack."""

    host: str
    """Address of one, for clients; empty: not known."""
    problem: str = ""
    """Why the stack can't be on this cluster; empty when it can."""
    surge: bool = True
    """Whether they hold one pod more of the prediction service than it has."""


def look(settings: Settings, planned: Plan, cluster: Cluster) -> Room:
    """Return what the nodes are for the stack.

    What it lacks room for now, but may have room for when a node comes or is Ready again, is a
    warning: the wait for the pods says what they wait for.
    """
    found = nodes.listed(cluster)
    if found is None:
        return _unseen(settings)
    for wanted in _wanted(settings, planned):
        problem = nodes.lack([node for node in found if node.is_open], *_of(wanted))
        if problem is None:
            continue
        if not _may_come(settings, found, wanted):
            return Room(_given(settings), nodes.lack(found, *_of(wanted)) or problem)
        pulumi.log.warn(f"{problem} The pods are made, and wait until a node takes them.")
    surge = nodes.have_room_for_one_more(found, settings.serving_flavour, settings.serving_scale)
    try:
        return Room(_given(settings) or nodes.address(found), surge=surge)
    except pulumi.RunError as problem:
        return Room("", str(problem) if _has_node_ports(settings) else "", surge=surge)


def _wanted(settings: Settings, planned: Plan) -> Iterator[_Wanted]:
    # Of a Job that is there nobody asks: its pool may be gone with its pods.
    if planned.makes_job:
        flavour = planned.flavour or settings.flavour
        yield _Wanted(flavour, "dlstack:flavour", settings.node_count)
    if settings.deploys or planned.served is not None:
        yield _Wanted(settings.serving_flavour, "dlstack:servingFlavour")


def _of(wanted: _Wanted) -> tuple[Flavour, str, int]:
    return wanted.flavour, wanted.key, wanted.pods


def _may_come(settings: Settings, found: Sequence[Node], wanted: _Wanted) -> bool:
    """Say whether a node for these pods may come, or be Ready again."""
    return (
        settings.start_seconds is not None
        or nodes.may_grow(found)
        or (bool(found) and nodes.lack(found, *_of(wanted)) is None)
    )


def _unseen(settings: Settings) -> Room:
    """Return the same where nobody may list the nodes: the cluster itself says what lacks room."""
    if _given(settings) or not _has_node_ports(settings):
        return Room(_given(settings))
    return Room(
        "",
        "The kubeconfig's user may not list the cluster's nodes, so their address is not known. "
        "Set dlstack:host to the address of a node.",
    )


def _given(settings: Settings) -> str:
    """Return the address of the nodes that the user set; that of a balancer is none."""
    return settings.exposure.node_host or ""


def _has_node_ports(settings: Settings) -> bool:
    return "NodePort" in (settings.exposure.type, settings.tensorboard_service_type)
