"""Three nodes on this machine: pods on them reach each other, and nodes are lost and come back.

Not covered: that Kubernetes notices a loss, for which it takes 50 seconds. Tests of training and
serving wait for that.
"""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from local.console import LocalError
from tests.cluster.on_three_nodes.conftest import ThreeNodes
from tests.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

HERE = "--namespace=three-nodes"
NAMES = ["dlstack", "dlstack-2", "dlstack-3"]
SERVER = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: server}
spec:
  replicas: 3
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: server}}
  template:
    metadata: {labels: {app: server}}
    spec:
      terminationGracePeriodSeconds: 1
      automountServiceAccountToken: false
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: DoNotSchedule
          labelSelector: {matchLabels: {app: server}}
      containers:
        - name: server
          image: IMAGE
          command: [python3, -m, http.server, "8080", --directory, /etc]
          readinessProbe: {httpGet: {path: /hostname, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: server}
spec: {type: LoadBalancer, selector: {app: server}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: keeper}
spec:
  selector: {matchLabels: {app: keeper}}
  template:
    metadata: {labels: {app: keeper}}
    spec:
      terminationGracePeriodSeconds: 1
      automountServiceAccountToken: false
      securityContext: {runAsUser: 65532, fsGroup: 65532}
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms:
              - matchExpressions:
                  - {key: kubernetes.io/hostname, operator: NotIn, values: [dlstack]}
      containers:
        - name: keeper
          image: IMAGE
          command: [sh, -c, "echo $NODE >> /data/starts && exec sleep infinity"]
          env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
          readinessProbe: {exec: {command: [test, -e, /data/starts]}, periodSeconds: 1}
          volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
"""
# To the web servers, from each other alone.
POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: server}
spec:
  podSelector: {matchLabels: {app: server}}
  ingress: [{from: [{podSelector: {matchLabels: {app: server}}}]}]
"""
ASKS = """
import sys, urllib.request
for address in sys.argv[2:]:
    try:
        url = f"http://{address}/hostname"
        print(urllib.request.urlopen(url, timeout=int(sys.argv[1])).read().decode().strip())
    except OSError:
        print("nobody")
"""


@pytest.fixture(scope="module")
def servers(cluster_of_three: ThreeNodes) -> Iterator[ThreeNodes]:
    """A web server on each node, and a pod with a volume on the second or third."""
    text = SERVER.replace("IMAGE", cluster_of_three.platform.runtime_image)
    cluster_of_three.kubectl("create", "namespace", "three-nodes")
    try:
        cluster_of_three.kubectl("apply", HERE, "--filename=-", given=text)
        for name in ("server", "keeper"):
            rolled = ("rollout", "status", HERE, f"statefulset/{name}", "--timeout=300s")
            cluster_of_three.kubectl(*rolled)
        yield cluster_of_three
    finally:
        cluster_of_three.kubectl("delete", "namespace", "three-nodes")


def field(nodes: ThreeNodes, pod: str, path: str) -> str:
    return nodes.kubectl("get", HERE, f"pod/{pod}", f"--output=jsonpath={{{path}}}")


def pod_on(nodes: ThreeNodes, name: str) -> str:
    """The web server of a node."""
    where = {field(nodes, f"server-{n}", ".spec.nodeName"): f"server-{n}" for n in range(3)}
    assert sorted(where) == NAMES
    return where[name]


def asked(nodes: ThreeNodes, pod: str, *addresses: str, seconds: int = 20) -> list[str]:
    """Which pod answers a pod at each address; "nobody" if none does within `seconds`."""
    command = ("python3", "-c", ASKS, str(seconds), *addresses)
    return nodes.kubectl("exec", HERE, pod, "--", *command).split()


def address_of(nodes: ThreeNodes, pod: str) -> str:
    return f"{field(nodes, pod, '.status.podIP')}:8080"


def test_pods_of_all_nodes_reach_each_other_by_service_and_by_address(servers, three_nodes):
    everyone = [f"server-{number}" for number in range(3)]
    addresses = [address_of(three_nodes, pod) for pod in everyone]
    for pod in everyone:
        assert asked(three_nodes, pod, *addresses) == everyone
        # A Service picks at random, and each node has to hear of its pods.
        eventually(lambda pod=pod: {*asked(three_nodes, pod, *["server"] * 40)} == {*everyone})
    assert "GET /hostname" in three_nodes.kubectl("logs", HERE, pod_on(three_nodes, "dlstack-3"))


def test_this_machine_reaches_all_of_them_at_the_address_of_the_balancer(servers, three_nodes):
    ingress = ".status.loadBalancer.ingress[0].ip"
    three_nodes.kubectl(
        "wait", HERE, f"--for=jsonpath={{{ingress}}}", "service/server", "--timeout=120s"
    )
    address = three_nodes.kubectl("get", HERE, "service/server", f"-ojsonpath={{{ingress}}}")

    def answers() -> set[str]:
        command = [sys.executable, "-c", ASKS, "20", *[address] * 40]
        return set(subprocess.run(command, capture_output=True, text=True).stdout.split())

    # Its kube-proxy has to hear of the address.
    eventually(lambda: answers() == {f"server-{number}" for number in range(3)})


def test_a_network_policy_decides_who_reaches_a_pod_of_any_node(servers, three_nodes):
    addresses = [address_of(three_nodes, f"server-{number}") for number in range(3)]
    everyone = [f"server-{number}" for number in range(3)]
    assert asked(three_nodes, "keeper-0", *addresses) == everyone
    three_nodes.kubectl("apply", HERE, "--filename=-", given=POLICY)
    try:
        # The nodes have to hear of it.
        refused = ["nobody"] * 3
        eventually(lambda: asked(three_nodes, "keeper-0", *addresses, seconds=2) == refused)
        assert asked(three_nodes, "server-0", *addresses) == everyone
    finally:
        three_nodes.kubectl("delete", HERE, "networkpolicy/server")
    eventually(lambda: asked(three_nodes, "keeper-0", *addresses, seconds=2) == everyone)


def test_the_metrics_api_tells_what_pods_of_all_nodes_use(servers, three_nodes):
    def told(path: str) -> set[str]:
        try:
            said = three_nodes.kubectl("get", "--raw", f"/apis/metrics.k8s.io/v1beta1/{path}")
        except LocalError:
            return set()  # The API server asks who answers for it now and then, and once in vain.
        return {item["metadata"]["name"] for item in json.loads(said)["items"]}

    # A pod's use is known once it was measured twice, each 10 s.
    eventually(lambda: told("nodes") == {*NAMES}, 120)
    pods = {"keeper-0", *(f"server-{number}" for number in range(3))}
    eventually(lambda: told("namespaces/three-nodes/pods") == pods, 120)


def test_a_node_that_is_cut_off_goes_on_by_itself_and_joins_again(servers, three_nodes):
    here, there = pod_on(three_nodes, "dlstack"), pod_on(three_nodes, "dlstack-2")
    three_nodes.cut("dlstack-2")
    assert asked(three_nodes, here, address_of(three_nodes, there), seconds=2) == ["nobody"]
    three_nodes.join("dlstack-2")
    # Neighbours forget each other's hardware address, and ask for it anew.
    eventually(lambda: asked(three_nodes, here, address_of(three_nodes, there)) == [there])
    assert field(three_nodes, there, ".status.containerStatuses[0].restartCount") == "0"


def test_a_node_that_is_killed_comes_back_with_its_pods(servers, three_nodes):
    here, there = pod_on(three_nodes, "dlstack"), pod_on(three_nodes, "dlstack-3")
    three_nodes.kill("dlstack-3")
    assert asked(three_nodes, here, address_of(three_nodes, there), seconds=2) == ["nobody"]
    three_nodes.start("dlstack-3")
    again = "--for=jsonpath={.status.containerStatuses[0].restartCount}=1"
    three_nodes.kubectl("wait", HERE, again, f"pod/{there}", "--timeout=180s")
    eventually(lambda: asked(three_nodes, here, address_of(three_nodes, there)) == [there])


def test_a_pod_takes_its_volume_along_from_a_drained_node(servers, three_nodes):
    before = field(three_nodes, "keeper-0", ".spec.nodeName")
    three_nodes.drain(before)
    # Not its StatefulSet's status, which may still tell of the pod that has just gone.
    for condition in ("create", "condition=Ready"):
        three_nodes.kubectl("wait", HERE, f"--for={condition}", "pod/keeper-0", "--timeout=180s")
    after = field(three_nodes, "keeper-0", ".spec.nodeName")
    assert {before, after} == {"dlstack-2", "dlstack-3"}

    def starts() -> list[str]:
        return three_nodes.kubectl("exec", HERE, "keeper-0", "--", "cat", "/data/starts").split()

    # It is ready by the file of before, maybe a moment before it has written into it.
    eventually(lambda: starts()[-1] == after)
    assert before in starts()
