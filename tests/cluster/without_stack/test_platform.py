"""The embedded cluster: its volumes, and what happens when a part of it dies.

Not covered: a machine that is switched off.
"""

import os
import signal
import subprocess
import sys

import pytest

from local.home import REPOSITORY
from tests.cluster.without_stack.conftest import create_namespace

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


KILLED = {
    "all": (),
    # Without these the others can't go on.
    **{name: (name,) for name in ("node", "etcd", "kube-apiserver", "containerd")},
}


@pytest.mark.parametrize("names", KILLED.values(), ids=KILLED)
def test_up_brings_back_killed_processes(cluster, names):
    before = {process.name: process.pid() for process in cluster.processes()}
    for name in names or before:
        os.kill(before[name], signal.SIGKILL)
    done = subprocess.run(
        [sys.executable, "-m", "local", "up"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    after = {process.name: process.pid() for process in cluster.processes()}
    assert all(after.values())
    assert not {after[name] for name in names or before} & {
        before[name] for name in names or before
    }
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


def local(command: str) -> None:
    subprocess.run([sys.executable, "-m", "local", command], cwd=REPOSITORY, check=True)


def test_a_stopped_cluster_keeps_everything(cluster, platform):
    here = "--namespace=stopped"
    text = CLAIM_AND_POD.replace("IMAGE", platform.runtime_image)
    create_namespace(cluster, "stopped")
    try:
        cluster.kubectl("apply", here, "--filename=-", given=text)
        cluster.kubectl("wait", here, "--for=condition=Ready", "pod/writer", "--timeout=180s")
        volume = cluster.kubectl("get", here, "pvc/data", "--output=jsonpath={.spec.volumeName}")
        local("stop")
        assert not cluster.is_running()
        assert (cluster.folder / "volumes" / volume / "file").exists()
        local("up")
        again = "--for=jsonpath={.status.containerStatuses[0].restartCount}=1"
        cluster.kubectl("wait", here, again, "pod/writer", "--timeout=180s")
        cluster.kubectl("wait", here, "--for=condition=Ready", "pod/writer", "--timeout=180s")
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
            create_namespace(cluster, namespace)
            cluster.kubectl("apply", f"--namespace={namespace}", "--filename=-", given=text)
        volumes = []
        for namespace in namespaces:
            here = f"--namespace={namespace}"
            cluster.kubectl("wait", here, "--for=condition=Ready", "pod/writer", "--timeout=180s")
            of_claim = ("pvc/data", "--output=jsonpath={.spec.volumeName}")
            volumes.append(cluster.kubectl("get", here, *of_claim))
        assert all((folders / volume / "file").exists() for volume in volumes)
        # By hand, too, it goes with its claim and not before.
        cluster.kubectl("delete", "--wait=false", f"persistentvolume/{volumes[0]}")
        assert (folders / volumes[0] / "file").exists()
    finally:
        cluster.kubectl("delete", "namespace", "--ignore-not-found", *namespaces)
    for volume in volumes:
        cluster.kubectl("wait", "--for=delete", f"persistentvolume/{volume}", "--timeout=180s")
        assert not (folders / volume).exists()
