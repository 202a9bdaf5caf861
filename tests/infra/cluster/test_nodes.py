"""Which nodes count, whether there is room on them, and under which address they are reached."""

from typing import Any

import pulumi
import pytest

from infra.cluster import nodes
from infra.cluster.flavour import Flavour, Taint, Toleration
from infra.settings import flavours
from tests.infra.conftest import ANY_CLUSTER, FakeCluster, node


@pytest.mark.parametrize(
    "spec",
    [
        {"unschedulable": True},
        {"taints": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]},
    ],
)
def test_nodes_that_take_no_pods_do_not_count(
    fake_cluster: FakeCluster, spec: dict[str, Any]
) -> None:
    fake_cluster.nodes(node("big", "64", "512Gi", spec=spec), node("small", "2", "8Gi"))
    found = nodes.usable(ANY_CLUSTER)
    assert found[0].name == "small"
    with pytest.raises(pulumi.RunError, match="The biggest, 'small', has 2 cores"):
        nodes.require_room(found, flavours.find("cpu-4", "flavour"), "flavour")


def test_nodes_with_gpus_count_although_they_are_tainted(fake_cluster: FakeCluster) -> None:
    spec = {"taints": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]}
    gpus = {"nvidia.com/gpu": "4"}
    fake_cluster.nodes(node("gpus", "32", "300Gi", spec=spec, resources=gpus))
    nodes.require_room(nodes.usable(ANY_CLUSTER), flavours.find("gpu-4", "flavour"), "flavour")


def test_no_node_at_all_is_told(fake_cluster: FakeCluster) -> None:
    fake_cluster.nodes()
    with pytest.raises(pulumi.RunError, match="no node that takes pods"):
        nodes.usable(ANY_CLUSTER)


def test_one_node_must_hold_it_all(fake_cluster: FakeCluster) -> None:
    """Two nodes with half of the cores each don't."""
    fake_cluster.nodes(node("one", "1", "64Gi"), node("two", "7900m", "16Gi"))
    with pytest.raises(
        pulumi.RunError, match=r"'cpu-8' \(8 cores, 64 GiB\) is too big for every node"
    ):
        nodes.require_room(nodes.usable(ANY_CLUSTER), flavours.find("cpu-8", "flavour"), "flavour")


def test_nodes_together_hold_the_pods_of_several_workers(fake_cluster: FakeCluster) -> None:
    fake_cluster.nodes(node("one", "3900m", "64Gi"), node("two", "4", "5Gi"))
    cpu = flavours.find("cpu", "dlstack:flavour")
    nodes.require_room(nodes.usable(ANY_CLUSTER), cpu, "dlstack:flavour", pods=5)
    problem = r"nodeCount is 6, but .* only 5 pods of dlstack:flavour 'cpu' .*add nodes"
    with pytest.raises(pulumi.RunError, match=problem):
        nodes.require_room(nodes.usable(ANY_CLUSTER), cpu, "dlstack:flavour", pods=6)


def test_nodes_are_chosen_by_labels_and_taints(fake_cluster: FakeCluster) -> None:
    spec = {"taints": [{"key": "team", "value": "a", "effect": "NoSchedule"}]}
    fake_cluster.nodes(
        node("open", "64", "512Gi"),
        node("ours", "8", "64Gi", labels={"pool": "ours"}, spec=spec),
    )
    one = {"name": "x", "cpu": 1, "memory_gib": 1, "memory_limit_gib": 1}
    ours = {"node_selector": {"pool": "ours"}, "own_tolerations": (Toleration(key="team"),)}
    nobody = "No node accepts .* 'x' .* selects \\(pool=ours\\), or has a taint that it doesn't"
    with pytest.raises(pulumi.RunError, match=nobody):
        nodes.require_room(nodes.usable(ANY_CLUSTER), Flavour(**one, **ours), "flavour")
    ours["own_tolerations"] = (Toleration(key="team", value="a"),)
    nodes.require_room(nodes.usable(ANY_CLUSTER), Flavour(**one, **ours), "flavour", pods=8)
    with pytest.raises(pulumi.RunError, match="room for only 8 pods"):
        nodes.require_room(nodes.usable(ANY_CLUSTER), Flavour(**one, **ours), "flavour", pods=9)


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
    assert nodes.address(nodes.usable(ANY_CLUSTER)) == "203.0.113.9"
