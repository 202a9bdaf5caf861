"""The embedded cluster when a part of it dies. Not covered: a machine that is switched off."""

import fcntl
import os
import signal
import subprocess
import sys

import pytest

from local.home import REPOSITORY
from local.kubernetes.configuration import PROCESSES
from tests.cluster.conftest import held

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


KILLED = {
    "all": PROCESSES,
    # Without these the others can't go on.
    **{name: (name,) for name in ("etcd", "kube-apiserver", "containerd")},
}


@pytest.fixture(scope="module")
def cluster(platform):
    if platform.brought_kubeconfig is not None:
        pytest.skip("the cluster is somebody's own")
    # When nobody else tests on it.
    with held(platform, "use", fcntl.LOCK_EX):
        yield platform.cluster


@pytest.mark.parametrize("names", KILLED.values(), ids=KILLED)
def test_up_brings_back_killed_processes(cluster, names):
    before = {process.name: process.pid() for process in cluster.processes()}
    for name in names:
        os.kill(before[name], signal.SIGKILL)
    done = subprocess.run(
        [sys.executable, "-m", "local", "up"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    after = {process.name: process.pid() for process in cluster.processes()}
    assert all(after.values())
    assert not {after[name] for name in names} & {before[name] for name in names}
    assert "Ready" in cluster.kubectl("get", "nodes")


def test_up_changes_nothing_where_all_runs(cluster):
    before = {process.name: process.pid() for process in cluster.processes()}
    subprocess.run([sys.executable, "-m", "local", "up"], cwd=REPOSITORY, check=True)
    assert {process.name: process.pid() for process in cluster.processes()} == before
