"""The embedded cluster when a part of it dies. Not covered: a machine that is switched off."""

import os
import signal
import subprocess
import sys

import pytest

from local.home import REPOSITORY
from local.kubernetes.configuration import PROCESSES

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def cluster(platform):
    if platform.brought_kubeconfig is not None:
        pytest.skip("the cluster is somebody's own")
    return platform.cluster


@pytest.mark.parametrize("name", PROCESSES)
def test_up_brings_back_a_killed_process(cluster, name):
    before = {process.name: process.pid() for process in cluster.processes()}
    os.kill(before[name], signal.SIGKILL)
    done = subprocess.run(
        [sys.executable, "-m", "local", "up"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    after = {process.name: process.pid() for process in cluster.processes()}
    assert all(after.values())
    assert after[name] != before[name]
    assert "Ready" in cluster.kubectl("get", "nodes")


def test_up_changes_nothing_where_all_runs(cluster):
    before = {process.name: process.pid() for process in cluster.processes()}
    subprocess.run([sys.executable, "-m", "local", "up"], cwd=REPOSITORY, check=True)
    assert {process.name: process.pid() for process in cluster.processes()} == before
