"""An embedded cluster with three nodes, of which two can be lost."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from local.platform import Platform
from tests.cluster.conftest import (
    SHARED_CORES,
    Deployment,
    configuration_kept,
    new_stack,
)
from tests.cluster.second_cluster import local, second_cluster

NOTICED_SECONDS = 240
"""Until Kubernetes says of a node that is lost that it isn't ready: 50 s, and some patience."""


@dataclass
class ThreeNodes:
    """The nodes `dlstack`, which has the control plane and stays, `dlstack-2` and `dlstack-3`."""

    platform: Platform
    lost: set[str] = field(default_factory=set)
    """Nodes that are cut off or killed: brought back after each test."""
    cordoned: set[str] = field(default_factory=set)
    """Nodes that take no pods: they do again after each test."""

    def cut(self, name: str) -> None:
        """Have a node reach nobody, and nobody it. What runs on it goes on."""
        self.lost.add(name)
        local("node", name, "cut")

    def join(self, name: str) -> None:
        """Undo `cut`."""
        local("node", name, "join")
        self.lost.discard(name)

    def kill(self, name: str) -> None:
        """End all that runs on a node, as when its power is cut."""
        self.lost.add(name)
        local("node", name, "kill")

    def start(self, name: str) -> None:
        """Start a node that was killed, and wait until a pod has tried it."""
        local("node", name, "start")
        self.lost.discard(name)

    def drain(self, name: str, seconds: int = 240) -> None:
        """Cordon a node and evict its pods; fail if it has pods after `seconds`."""
        self.cordoned.add(name)
        flags = ("--ignore-daemonsets", "--delete-emptydir-data", "--force")
        self.kubectl("drain", name, *flags, f"--timeout={seconds}s")

    def cordon(self, name: str) -> None:
        """Have no new pods on a node."""
        self.cordoned.add(name)
        self.kubectl("cordon", name)

    def uncordon(self, name: str) -> None:
        """Undo `cordon` and `drain`."""
        self.kubectl("uncordon", name)
        self.cordoned.discard(name)

    def await_loss(self, name: str) -> None:
        """Wait until Kubernetes has noticed that a node is lost."""
        lost = "--for=condition=Ready=Unknown"
        self.kubectl("wait", lost, f"node/{name}", f"--timeout={NOTICED_SECONDS}s")

    def bring_back(self) -> None:
        """Have all nodes as they were."""
        if self.lost:
            local("up")
            self.lost.clear()
        for name in list(self.cordoned):
            self.uncordon(name)

    def kubectl(self, *words: str, given: str | None = None) -> str:
        """Run kubectl as administrator; its output."""
        return self.platform.cluster.kubectl(*words, given=given)


@pytest.fixture(scope="package")
def cluster_of_three(platform: Platform) -> Iterator[ThreeNodes]:
    if platform.brought_kubeconfig is not None:
        pytest.skip("the cluster is somebody's own")
    with second_cluster(platform, NODES="3") as second:
        yield ThreeNodes(second)


@pytest.fixture(scope="package")
def stack(cluster_of_three: ThreeNodes) -> Iterator[Deployment]:
    """One stack for all modules."""
    platform = cluster_of_three.platform
    with new_stack(platform, "three-nodes", pauses=True) as deployment:
        # The nodes share the machine's cores: what they reserve is not what they have.
        deployment.configure(*SHARED_CORES)
        yield deployment


@pytest.fixture(scope="module")
def deployment(stack: Deployment) -> Iterator[Deployment]:
    """The stack, with the configuration of a new one; what a module before deployed is there."""
    with configuration_kept(stack):
        yield stack


@pytest.fixture
def three_nodes(cluster_of_three: ThreeNodes) -> Iterator[ThreeNodes]:
    """The nodes, all there at the beginning of each test."""
    yield cluster_of_three
    cluster_of_three.bring_back()
