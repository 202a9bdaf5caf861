"""The embedded cluster: its volumes, and what happens when a part of it dies.

Not covered: a machine that is switched off.
"""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

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


CLAIM_AND_POD = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Ti}}
---
apiVersion: v1
kind: Pod
metadata: {name: writer}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {runAsUser: 65532, fsGroup: 65532}
  containers:
    - name: writer
      image: IMAGE
      command: [sh, -c, "touch /data/file && exec sleep infinity"]
      readinessProbe: {exec: {command: [test, -e, /data/file]}, periodSeconds: 1}
      volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
"""


def traces(folder: Path) -> dict[str, list[str]]:
    """What a cluster leaves in the machine while it runs."""

    def lines(word: str, *words: str) -> list[str]:
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        return [line for line in done.stdout.splitlines() if word in line]

    return {
        "firewall": lines("KUBE-", "iptables-save"),
        "addresses": lines("10.77.0.1", "ip", "address", "show", "dev", "lo"),
        "namespaces": lines("cni-", "ip", "netns", "list"),
        "mounts": lines(f"{folder}/", "cat", "/proc/mounts"),
    }


def local(command: str) -> None:
    subprocess.run([sys.executable, "-m", "local", command], cwd=REPOSITORY, check=True)


def test_a_stopped_cluster_keeps_everything_and_leaves_the_machine_as_it_was(cluster, platform):
    here = "--namespace=stopped"
    text = CLAIM_AND_POD.replace("IMAGE", platform.runtime_image)
    cluster.kubectl("create", "namespace", "stopped")
    try:
        cluster.kubectl("apply", here, "--filename=-", given=text)
        cluster.kubectl("wait", here, "--for=condition=Ready", "pod/writer", "--timeout=120s")
        volume = cluster.kubectl("get", here, "pvc/data", "--output=jsonpath={.spec.volumeName}")
        assert all(traces(cluster.folder).values())
        kept = {p.name: p.read_text() for p in (cluster.folder / "sysctl").iterdir()}
        local("stop")
        assert not cluster.is_running()
        assert not any(traces(cluster.folder).values()), traces(cluster.folder)
        for name, value in kept.items():
            assert Path("/proc/sys", name.replace(".", "/")).read_text() == value
        assert (cluster.folder / "volumes" / volume / "file").exists()
        local("up")
        again = "--for=jsonpath={.status.containerStatuses[0].restartCount}=1"
        cluster.kubectl("wait", here, again, "pod/writer", "--timeout=120s")
        cluster.kubectl("wait", here, "--for=condition=Ready", "pod/writer", "--timeout=120s")
        assert cluster.kubectl("get", here, "pvc/data", "--output=jsonpath={.status.phase}") == (
            "Bound"
        )
    finally:
        local("up")
        cluster.kubectl("delete", "namespace", "stopped")


def test_a_claim_has_a_volume_and_takes_it_along_when_it_goes(cluster, platform):
    """More of them than a cluster had volumes, when it had a fixed number."""
    namespaces = [f"volumes-{number}" for number in range(9)]
    text = CLAIM_AND_POD.replace("IMAGE", platform.runtime_image)
    folders = cluster.folder / "volumes"
    try:
        for namespace in namespaces:
            cluster.kubectl("create", "namespace", namespace)
            cluster.kubectl("apply", f"--namespace={namespace}", "--filename=-", given=text)
        volumes = []
        for namespace in namespaces:
            here = f"--namespace={namespace}"
            cluster.kubectl("wait", here, "--for=condition=Ready", "pod/writer", "--timeout=120s")
            of_claim = ("pvc/data", "--output=jsonpath={.spec.volumeName}")
            volumes.append(cluster.kubectl("get", here, *of_claim))
        assert all((folders / volume / "file").exists() for volume in volumes)
        # By hand, too, it goes with its claim and not before.
        cluster.kubectl("delete", "--wait=false", f"persistentvolume/{volumes[0]}")
        assert (folders / volumes[0] / "file").exists()
    finally:
        cluster.kubectl("delete", "namespace", "--ignore-not-found", *namespaces)
    for volume in volumes:
        cluster.kubectl("wait", "--for=delete", f"persistentvolume/{volume}", "--timeout=60s")
        assert not (folders / volume).exists()
