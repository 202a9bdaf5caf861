"""What the embedded cluster keeps when etcd is lost, and where its node ports answer.

Not covered: the stack that is put back on its volume, which takes minutes; it was tried by hand.
"""

import json
import shutil
import socket
import subprocess
import sys
import time

import pytest

from local.home import REPOSITORY
from local.kubernetes.memory import ETCD_FOLDER
from tests.cluster.without_stack.conftest import create_namespace

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

CLAIM_AND_POD = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
---
apiVersion: v1
kind: Pod
metadata: {name: server, labels: {app: server}}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {runAsUser: 65532, fsGroup: 65532}
  containers:
    - name: server
      image: IMAGE
      command: [sh, -c, "date +%s%N >> /data/starts; exec python3 -m http.server -d /data 8000"]
      readinessProbe: {httpGet: {path: /starts, port: 8000}, periodSeconds: 1}
      volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
---
apiVersion: v1
kind: Service
metadata: {name: server}
spec:
  type: NodePort
  selector: {app: server}
  ports: [{port: 80, targetPort: 8000}]
"""
HERE = "--namespace=lost"


@pytest.fixture
def server(cluster, platform):
    """Makes namespace, volume, pod and Service; returns the node port."""

    def make() -> int:
        create_namespace(cluster, "lost")
        text = CLAIM_AND_POD.replace("IMAGE", platform.runtime_image)
        cluster.kubectl("apply", HERE, "--filename=-", given=text)
        cluster.kubectl("wait", HERE, "--for=condition=Ready", "pod/server", "--timeout=180s")
        return json.loads(cluster.kubectl("get", HERE, "service/server", "--output=json"))["spec"][
            "ports"
        ][0]["nodePort"]

    yield make
    cluster.kubectl("delete", "namespace", "--ignore-not-found", "lost")


def local(command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "local", command], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def get(address: str, port: int) -> bytes:
    """The answer of the pod; it comes as soon as the port is open and the pod has its turn."""
    until = time.monotonic() + 120
    while True:
        try:
            with socket.create_connection((address, port), 5) as connection:
                connection.sendall(b"GET /starts HTTP/1.0\r\n\r\n")
                if answer := b"".join(iter(lambda: connection.recv(4096), b"")):
                    return answer.partition(b"\r\n\r\n")[2]
        except OSError:
            pass
        assert time.monotonic() < until
        time.sleep(0.1)


def other_addresses() -> list[str]:
    """This machine's addresses that others see."""
    words = ["ip", "-json", "-4", "address", "show", "scope", "global"]
    links = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
    return [one["local"] for link in links for one in link.get("addr_info", ())]


def test_a_node_port_answers_on_127_0_0_1_and_nowhere_else(cluster, server):
    port = server()
    assert get("127.0.0.1", port)
    for address in other_addresses():
        with socket.socket() as probe:
            probe.settimeout(2)
            assert probe.connect_ex((address, port)) != 0, address


def test_a_cluster_without_its_etcd_is_the_same_one_with_the_same_volumes(
    cluster, server, platform
):
    def uid() -> str:
        return cluster.kubectl("get", "namespace/kube-system", "--output=jsonpath={.metadata.uid}")

    before, (start,) = uid(), get("127.0.0.1", server()).split()
    etcd, aside = cluster.folder / ETCD_FOLDER, cluster.folder / "etcd.aside"
    local("stop")
    # Not removed: others' stacks are in it.
    etcd.rename(aside)
    try:
        assert "the cluster is made anew as the same one" in local("up")
        assert platform.home.lost_cluster.exists(), "the next `pulumi up` has to compare"
        assert uid() == before
        assert get("127.0.0.1", server()).split()[0] == start
    finally:
        local("stop")
        shutil.rmtree(etcd, ignore_errors=True)
        aside.rename(etcd)
        platform.home.lost_cluster.unlink(missing_ok=True)
        local("up")
