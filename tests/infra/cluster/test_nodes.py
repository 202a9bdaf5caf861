"""Which nodes count, whether there is room on them, and under which address they are reached."""

import re
from typing import Any

import pytest

from infra.cluster import api, nodes
from infra.cluster.flavour import Flavour, Taint, Toleration
from infra.cluster.nodes import Node
from infra.settings import flavours
from tests.infra.conftest import ANY_CLUSTER, FakeCluster, node

CORDON = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
CONTROL_PLANE = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}


def listed() -> list[Node]:
    found = nodes.listed(ANY_CLUSTER)
    assert found is not None
    return found


def lack(flavour: str | Flavour, pods: int = 1) -> str:
    """What the nodes lack; empty for nothing."""
    if isinstance(flavour, str):
        flavour = flavours.find(flavour, "dlstack:flavour")
    return nodes.lack(listed(), flavour, "dlstack:flavour", pods) or ""


def test_a_node_that_keeps_our_pods_off_does_not_count(fake_cluster: FakeCluster) -> None:
    tainted = node("big", "64", "512Gi", spec={"taints": [CONTROL_PLANE]})
    fake_cluster.nodes(tainted, node("small", "2", "8Gi"))
    assert listed()[0].name == "small"
    assert "The biggest, 'small', has 2 cores" in lack("cpu-4")


@pytest.mark.parametrize("spec", [{"unschedulable": True}, {"taints": [CORDON]}])
def test_a_node_that_is_cordoned_or_lost_may_come_back(
    fake_cluster: FakeCluster, spec: dict[str, Any]
) -> None:
    fake_cluster.nodes(node("big", "64", "512Gi", spec=spec), node("small", "2", "8Gi"))
    assert [(one.name, one.is_open) for one in listed()] == [("small", True), ("big", False)]
    assert lack("cpu-4") == ""


def test_nodes_with_gpus_count_although_they_are_tainted(fake_cluster: FakeCluster) -> None:
    spec = {"taints": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]}
    gpus = {"nvidia.com/gpu": "4"}
    fake_cluster.nodes(node("gpus", "32", "300Gi", spec=spec, resources=gpus))
    assert lack("gpu-4") == ""


def test_no_node_at_all_is_told(fake_cluster: FakeCluster) -> None:
    fake_cluster.nodes()
    assert "no node that takes pods" in lack("cpu")


def test_a_node_that_has_just_joined_has_nothing(fake_cluster: FakeCluster) -> None:
    """Symptom otherwise: a traceback, KeyError 'allocatable'."""
    fake_cluster.nodes({"metadata": {"name": "new"}, "spec": {}})
    assert "is too big" in lack("cpu")


def test_who_may_not_list_nodes_gets_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise api.Forbidden("no")

    monkeypatch.setattr(api, "items", refuse)
    assert nodes.listed(ANY_CLUSTER) is None


@pytest.mark.parametrize(
    ("provider", "grows"),
    [("gce://project/zone/node", True), ("aws:///eu-central-1a/i-1", True), ("", False)]
    + [("kind://docker/kind/kind-control-plane", False), ("k3s://node", False)],
)
def test_a_cloud_may_make_more_nodes(fake_cluster: FakeCluster, provider: str, grows: bool) -> None:
    fake_cluster.nodes(node("one", "2", "8Gi", spec={"providerID": provider}))
    assert nodes.may_grow(listed()) is grows


def test_one_node_must_hold_it_all(fake_cluster: FakeCluster) -> None:
    """Two nodes with half of the cores each don't."""
    fake_cluster.nodes(node("one", "1", "64Gi"), node("two", "7900m", "16Gi"))
    assert "'cpu-8' (8 cores, 64 GiB) is too big for every node" in lack("cpu-8")


def test_nodes_together_hold_the_pods_of_several_workers(fake_cluster: FakeCluster) -> None:
    fake_cluster.nodes(node("one", "3900m", "64Gi"), node("two", "4", "5Gi"))
    assert lack("cpu", pods=5) == ""
    problem = r"nodeCount is 6, but .* only 5 pods of dlstack:flavour 'cpu' .*add nodes"
    assert re.search(problem, lack("cpu", pods=6))


def test_nodes_are_chosen_by_labels_and_taints(fake_cluster: FakeCluster) -> None:
    spec = {"taints": [{"key": "team", "value": "a", "effect": "NoSchedule"}]}
    fake_cluster.nodes(
        node("open", "64", "512Gi"),
        node("ours", "8", "64Gi", labels={"pool": "ours"}, spec=spec),
    )
    one = {"name": "x", "cpu": 1, "memory_gib": 1, "memory_limit_gib": 1}
    ours = {"node_selector": {"pool": "ours"}, "own_tolerations": (Toleration(key="team"),)}
    nobody = "No node accepts .* 'x' .* selects \\(pool=ours\\), or has a taint that it doesn't"
    assert re.search(nobody, lack(Flavour(**one, **ours)))
    ours["own_tolerations"] = (Toleration(key="team", value="a"),)
    assert lack(Flavour(**one, **ours), pods=8) == ""
    assert "room for only 8 pods" in lack(Flavour(**one, **ours), pods=9)


@pytest.mark.parametrize(
    ("toleration", "covered"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "gpu", "operator": "Exists"}, True),
        ({"key": "gpu", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "gpu", "value": "a100"}, True),
        ({"key": "gpu", "value": "a100", "effect": "NoSchedule"}, True),
        ({"key": "gpu"}, False),
        ({"key": "cpu", "operator": "Exists"}, False),
    ],
)
def test_taints_are_tolerated_as_in_kubernetes(toleration: dict[str, Any], covered: bool) -> None:
    taint = Taint(key="gpu", value="a100", effect="NoSchedule")
    assert Toleration(**toleration).covers(taint) is covered


def test_an_external_address_is_preferred(fake_cluster: FakeCluster) -> None:
    external = [
        {"type": "InternalIP", "address": "10.0.0.9"},
        {"type": "ExternalIP", "address": "203.0.113.9"},
    ]
    fake_cluster.nodes(node("a", "2", "8Gi"), node("b", "2", "8Gi", addresses=external))
    assert nodes.address(listed()) == "203.0.113.9"
