"""An embedded cluster that nobody else tests on."""

from collections.abc import Iterator

import pytest

from local.kubernetes.cluster import Cluster
from local.platform import Platform
from tests.cluster.second_cluster import second_cluster


@pytest.fixture(scope="package")
def platform(platform: Platform) -> Iterator[Platform]:
    if platform.brought_kubeconfig is not None:
        pytest.skip("the cluster is somebody's own")
    with second_cluster(platform, NODES="1") as second:
        yield second


@pytest.fixture(scope="module")
def cluster(platform: Platform) -> Cluster:
    return platform.cluster


def create_namespace(cluster: Cluster, name: str) -> None:
    """Make a namespace, with the account that pods need: Kubernetes makes it a moment later."""
    cluster.kubectl("create", "namespace", name)
    here = f"--namespace={name}"
    cluster.kubectl("wait", here, "--for=create", "serviceaccount/default", "--timeout=180s")
