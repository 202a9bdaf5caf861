"""How many nodes a cluster is to have, what it has besides, and where each of them is."""

import pytest

from local import node_count
from local.console import LocalError
from local.home import Home
from local.kubernetes import addons
from local.kubernetes.cluster import PROGRAMS, Cluster
from local.kubernetes.nodes import Node
from local.machine.ranges import Ranges

RANGES = Ranges.parse("10.64.0.0/14")


@pytest.fixture(autouse=True)
def _nothing_asked(monkeypatch):
    for variable in (node_count.VARIABLE, addons.VARIABLE):
        monkeypatch.delenv(variable, raising=False)


def names(programs):
    return [program.name for program in programs]


def test_each_node_has_an_address_and_pods_of_its_own():
    listed = [Node(number, RANGES) for number in range(1, 10)]
    assert [node.name for node in listed[:3]] == ["dlstack", "dlstack-2", "dlstack-3"]
    assert [str(node.address) for node in listed[:2]] == ["10.65.0.1", "10.65.0.2"]
    for node in listed:
        assert node.pods.subnet_of(RANGES.pods)
        assert not any(node.pods.overlaps(other.pods) for other in listed if other is not node)


def test_a_cluster_keeps_its_number_of_nodes(tmp_path):
    assert node_count.count(tmp_path) == 1
    node_count.keep(tmp_path, 1)
    assert not list(tmp_path.iterdir())
    node_count.keep(tmp_path, 3)
    assert node_count.count(tmp_path) == 3


@pytest.mark.parametrize("text", ["0", "10", "-1", "three", "1.5"])
def test_a_number_of_nodes_that_can_not_be_is_refused(text, monkeypatch):
    monkeypatch.setenv(node_count.VARIABLE, text)
    with pytest.raises(LocalError, match=f"NODES is '{text}'. Set it to a number .* from 1 to 9"):
        node_count.asked()


def test_one_node_runs_nothing_besides_unless_the_metrics_api_is_asked_for(tmp_path, monkeypatch):
    cluster = Cluster(Home(tmp_path))
    cluster.folder.mkdir()
    assert cluster.needed_programs() == [*PROGRAMS]
    for value, besides in (("1", ["metrics-server"]), ("", ["metrics-server"]), ("0", [])):
        monkeypatch.setenv(addons.VARIABLE, value)
        assert names(cluster.needed_programs()[len(PROGRAMS) :]) == besides
        addons.keep(cluster.folder)
    monkeypatch.setenv(addons.VARIABLE, "yes")
    with pytest.raises(LocalError, match="METRICS is 'yes'. Set it to 1 .*, to 0"):
        addons.keep(cluster.folder)


def test_more_nodes_have_policies_and_the_metrics_api(tmp_path, monkeypatch):
    cluster = Cluster(Home(tmp_path))
    monkeypatch.setenv(node_count.VARIABLE, "3")
    besides = ["network-policies", "metrics-server"]
    assert names(cluster.needed_programs()[len(PROGRAMS) :]) == besides


def test_a_node_that_is_not_there_is_told_with_those_that_are(tmp_path):
    cluster = Cluster(Home(tmp_path))
    cluster.folder.mkdir()
    with pytest.raises(LocalError, match="no node 'dlstack-2' .* It has one node, .*NODES=3"):
        cluster.workers.named("dlstack-2")
    node_count.keep(cluster.folder, 2)
    assert cluster.workers.named("dlstack-2").node.number == 2
    with pytest.raises(LocalError, match="no node 'dlstack' .* It has dlstack-2"):
        cluster.workers.named("dlstack")
