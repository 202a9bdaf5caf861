"""The embedded cluster, when nobody else tests on it."""

import fcntl
from collections.abc import Iterator

import pytest

from local.kubernetes.cluster import Cluster
from local.platform import Platform
from tests.cluster.conftest import held


@pytest.fixture(scope="module")
def cluster(platform: Platform) -> Iterator[Cluster]:
    if platform.brought_kubeconfig is not None:
        pytest.skip("the cluster is somebody's own")
    with held(platform, "use", fcntl.LOCK_EX):
        yield platform.cluster
