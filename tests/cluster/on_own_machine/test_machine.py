"""A cluster and the machine that it is on: neither is in the way of the other, and nothing is left.

On a machine within this one. Not covered: firewalld, a kernel without IPv6, a machine that is
switched off.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from local.__main__ import Platform
from local.home import Home
from local.kubernetes.cluster import Cluster
from local.machine.ranges import Ranges
from tests.cluster.machine import ADDRESS, NEIGHBOUR, Machine, machine
from tests.cluster.traces import differences
from tests.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

RANGES = Ranges.parse("10.100.0.0/14")
PORT = 8099
NODE_PORT = 31999
NAME, ITS_ADDRESS = "store.example", "192.0.2.77"

PODS = """
apiVersion: v1
kind: Pod
metadata: {name: pod, labels: {app: pod}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: IMAGE
      imagePullPolicy: Never
      command: [python3, -m, http.server, "8080"]
      readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: pod}
spec:
  type: LoadBalancer
  selector: {app: pod}
  ports: [{port: 8080, nodePort: 31999}]
"""

CONNECT = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 3) as one:
    one.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    assert one.recv(4) == b"HTTP"
"""

# Answers every question for an IPv4 address with the same.
NAME_SERVER = """
import socket, sys
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind(("127.0.0.53", 53))
while True:
    asked, who = one.recvfrom(512)
    end = asked.index(0, 12) + 5
    has_one = asked[end - 3] == 1
    answer = b"\\xc0\\x0c\\0\\x01\\0\\x01\\0\\0\\0\\x05\\0\\x04" + socket.inet_aton(sys.argv[1])
    counts = asked[4:6] + (b"\\0\\x01" if has_one else b"\\0\\0") + b"\\0\\0\\0\\0"
    head = asked[:2] + b"\\x84\\0" + counts
    one.sendto(head + asked[12:end] + (answer if has_one else b""), who)
"""


@pytest.fixture(scope="module")
def here(platform: Platform, tmp_path_factory) -> Iterator[Machine]:
    """It uses what the platform has built."""
    if platform.brought_kubeconfig is not None:
        pytest.skip("the cluster is somebody's own")
    with machine(tmp_path_factory.mktemp("machine"), platform.home.cache) as one:
        yield one


def up(here: Machine, **variables: str) -> None:
    here.local("up", DLSTACK_NETWORK=str(RANGES.all), **variables)


@pytest.fixture
def cluster(here) -> Cluster:
    """The machine's cluster, with a pod that answers."""
    up(here)
    cluster = Cluster(Home(here.home))
    manifest = here.home / "pods.yaml"
    manifest.write_text(PODS.replace("IMAGE", cluster.images.runtime))
    here.kubectl("apply", "-f", manifest)
    here.kubectl("wait", "--for=condition=Ready", "pod/pod", "--timeout=300s")
    return cluster


@contextmanager
def serving(here: Machine, *words: str, at: int = 0) -> Iterator[None]:
    enter = ("nsenter", "--target", str(at or here.pid), "--mount", "--net", "--")
    with subprocess.Popen([*enter, sys.executable, *words], stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


def http_server(here: Machine, at: int = 0):
    return serving(here, "-m", "http.server", str(PORT), at=at)


def reaches(here: Machine, address: object, port: int, at: int = 0) -> bool:
    return here.run(sys.executable, "-c", CONNECT, str(address), str(port), at=at).returncode == 0


def from_pod(here: Machine, *words: str) -> str:
    return here.kubectl("exec", "pod/pod", "--", "python3", "-c", *words)


def await_from_pod(here: Machine, *words: str) -> str:
    """The same as soon as it succeeds.

    After a start of the cluster etcd may still tell that the pod, and who resolves names, are
    ready as those of before were.
    """
    until = time.monotonic() + 120
    while True:
        try:
            return from_pod(here, *words)
        except AssertionError:
            if time.monotonic() > until:
                raise


def await_pod_reaches(here: Machine, address: object, port: int) -> None:
    await_from_pod(here, CONNECT, str(address), str(port))


def kill_all(cluster: Cluster) -> None:
    for process in cluster.processes():
        if (pid := process.pid()) is not None:
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def before(here) -> dict[str, list[str]]:
    """The machine before its first cluster."""
    return here.traces()


def test_a_stopped_cluster_leaves_not_a_trace(here, before, cluster):
    assert differences(before, here.traces())
    here.local("stop")
    assert differences(before, here.traces()) == []


def test_a_cluster_killed_in_every_process_is_cleared_away(here, before, cluster):
    kill_all(cluster)
    here.local("stop")
    assert differences(before, here.traces()) == []
    assert cluster._namespaces.members() == []


def test_a_cluster_killed_in_every_process_comes_up_and_then_leaves_no_trace(here, before, cluster):
    kill_all(cluster)
    up(here)
    here.kubectl("wait", "--for=condition=Ready", "pod/pod", "--timeout=300s")
    await_pod_reaches(here, "pod", 8080)
    here.local("stop")
    assert differences(before, here.traces()) == []


def test_another_program_s_namespaces_are_in_nobody_s_way(here, cluster):
    """Symptom: after the first one no pod ever started again, and `make down` cured nothing."""
    here.must("ip", "netns", "add", "others")
    try:
        here.kubectl("delete", "pod", "--namespace=kube-system", "--selector=k8s-app=kube-dns")
        here.kubectl("rollout", "status", "--namespace=kube-system", "deploy/coredns")
        here.local("stop")
        up(here)
        assert "others" in here.must("ip", "netns", "list")
    finally:
        here.must("ip", "netns", "delete", "others")


def test_only_this_machine_reaches_node_ports_unless_more_is_asked_for(here, cluster):
    """And the addresses of balancers, whatever is asked for."""
    here.run("ip", "route", "add", str(RANGES.all), "via", ADDRESS, at=here.neighbour)
    balancer = RANGES.balancers[1]
    # The pod is ready before all who lead to it have heard that.
    eventually(lambda: reaches(here, "127.0.0.1", NODE_PORT))
    eventually(lambda: reaches(here, RANGES.node, NODE_PORT))
    eventually(lambda: reaches(here, balancer, 8080))
    for address in (ADDRESS, RANGES.node, RANGES.machine):
        assert not reaches(here, address, NODE_PORT, at=here.neighbour)
    up(here, DLSTACK_ADDRESS="0.0.0.0")
    eventually(lambda: reaches(here, ADDRESS, NODE_PORT, at=here.neighbour))
    assert not reaches(here, RANGES.node, NODE_PORT, at=here.neighbour)
    assert not reaches(here, balancer, 8080, at=here.neighbour)


def test_other_users_read_neither_volumes_nor_logs(here, cluster):
    for name in ("volumes", "logs", "pod-logs"):
        nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        assert here.run(*nobody, "ls", cluster.folder / name).returncode != 0


FIREWALLS = {
    "policy DROP": (
        "iptables -A INPUT -i lo -j ACCEPT; iptables -P INPUT DROP; iptables -P FORWARD DROP",
        "iptables -P INPUT ACCEPT; iptables -P FORWARD ACCEPT; iptables -F",
    ),
    "REJECT": (
        "iptables -A INPUT -i lo -j ACCEPT; iptables -A INPUT -j REJECT; iptables -A FORWARD -j "
        "REJECT",
        "iptables -F",
    ),
    "legacy": (
        "iptables-legacy -P FORWARD DROP; iptables-legacy -A INPUT ! -i lo -j REJECT",
        "iptables-legacy -P FORWARD ACCEPT; iptables-legacy -F",
    ),
    "nftables": (
        "nft 'table inet guard { chain in { type filter hook input priority 0; policy drop; "
        "iifname lo accept; }; chain through { type filter hook forward priority 10; "
        "policy drop; }; }'",
        "nft delete table inet guard",
    ),
}


@pytest.mark.parametrize("firewall", FIREWALLS)
def test_a_firewall_cuts_no_pod_off(here, cluster, firewall):
    close, open_again = FIREWALLS[firewall]
    with http_server(here), http_server(here, at=here.neighbour):
        await_pod_reaches(here, RANGES.machine, PORT)
        await_pod_reaches(here, NEIGHBOUR, PORT)
        here.must("sh", "-ec", close)
        try:
            # The firewall does what it is there for.
            assert not reaches(here, ADDRESS, PORT, at=here.neighbour)
            up(here)
            for address in (RANGES.machine, NEIGHBOUR):
                await_pod_reaches(here, address, PORT)
            await_from_pod(
                here, "import socket; socket.create_connection(('kubernetes.default', 443))"
            )
            assert not reaches(here, ADDRESS, PORT, at=here.neighbour)
        finally:
            here.must("sh", "-ec", open_again)


def test_pods_resolve_names_through_a_server_of_the_loopback_interface(here, cluster):
    """As systemd-resolved and dnsmasq are. On a machine that has no IPv6."""
    here.local("stop")
    here.must("sh", "-c", "cp /etc/resolv.conf /etc/resolv.conf.before")
    here.must("sh", "-c", "echo nameserver 127.0.0.53 > /etc/resolv.conf")
    for scope in ("all", "default"):
        setting = f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"
        here.must("sh", "-c", f"echo 1 > {setting}")
    try:
        with serving(here, "-c", NAME_SERVER, ITS_ADDRESS):
            up(here)
            here.kubectl("wait", "--for=condition=Ready", "pod/pod", "--timeout=300s")
            asked = f"import socket; print(socket.gethostbyname('{NAME}'))"
            assert await_from_pod(here, asked).strip() == ITS_ADDRESS
    finally:
        here.must("mv", "/etc/resolv.conf.before", "/etc/resolv.conf")
        here.local("stop")
