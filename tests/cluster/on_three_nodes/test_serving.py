"""A prediction service on several nodes: what clients notice of nodes and pods that come and go.

The tests build on each other and run in the order in which they stand here. Clients are on this
machine and connect by way of the first node, which stays: what a client on a lost node notices is
not covered, nor what balancers of clouds do.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from client import Client
from tests.cluster.conftest import Deployment, lasts
from tests.cluster.on_three_nodes.conftest import ThreeNodes
from tests.cluster.traffic import KINDS, traffic
from tests.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

LATE_SECONDS = 10
"""How much later than others a node hears where a Service's pods are."""

HEARING_SECONDS = 2
"""How long it then hears all that there is."""

LOST_SECONDS = 10
"""How long clients wait for an answer that a lost node may owe them."""


def servers(deployment: Deployment) -> dict[str, str]:
    """Pods that serve and go on to -> their nodes."""
    return {
        pod["metadata"]["name"]: pod["spec"]["nodeName"]
        for pod in deployment.items("pods", "--selector=app.kubernetes.io/name=prediction")
        if lasts(pod)
    }


def await_servers(deployment: Deployment, count: int, others: set[str] = frozenset()) -> None:
    """Wait until so many pods serve, none of them one of `others`."""
    eventually(
        lambda: len(found := servers(deployment)) == count and not others & found.keys(), 180
    )


def roll_out(deployment: Deployment) -> None:
    """Have two other pods serve; those of before are gone."""
    before = servers(deployment)
    do(deployment, "rollout", "restart", "deployment/prediction")
    await_servers(deployment, 2, set(before))
    eventually(lambda: gone(deployment, before), 120)


def do(deployment: Deployment, *words: str) -> None:
    done = deployment.kubectl(*words)
    assert done.returncode == 0, done.stderr


def forget_connections(three_nodes: ThreeNodes, address: str) -> None:
    """Have the first node forget connections to a pod that is gone.

    Linux does so after some minutes. Until then a new connection from a port of an old one is sent
    to where that was: among thousands of new ones a minute some are.
    """
    (api_server,) = named("kube-apiserver", three_nodes)
    command = ["nsenter", f"--net=/proc/{api_server}/ns/net", "conntrack", "--delete"]
    done = subprocess.run([*command, f"--reply-src={address}"], capture_output=True, text=True)
    print(done.stderr)
    # It fails where there is nothing to forget any more.
    assert done.returncode == 0 or "0 flow entries" in done.stderr, done.stderr


@contextmanager
def late(three_nodes: ThreeNodes) -> Iterator[None]:
    """Have the first node, by which the clients come, hear of Services late meanwhile."""
    (api_server,) = named("kube-apiserver", three_nodes)
    proxies = [*named("kube-proxy", three_nodes)]
    (process,) = [one for one in proxies if network(one) == network(api_server)]
    over = threading.Event()

    def hear_now_and_then() -> None:
        while not over.is_set():
            os.kill(process, signal.SIGSTOP)
            over.wait(LATE_SECONDS)
            os.kill(process, signal.SIGCONT)
            over.wait(HEARING_SECONDS)

    thread = threading.Thread(target=hear_now_and_then)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        os.kill(process, signal.SIGCONT)


def named(name: str, three_nodes: ThreeNodes) -> Iterator[int]:
    """The processes of the cluster that are a part of Kubernetes with this name."""
    home = os.fsencode(three_nodes.platform.home.root)
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if name.encode() in words and home in (folder / "environ").read_bytes():
                yield int(folder.name)
        except OSError:
            continue  # Gone meanwhile.


def network(process: int) -> str:
    """What tells the nodes' processes apart."""
    return os.readlink(f"/proc/{process}/ns/net")


def test_two_pods_serve_on_two_nodes(deployment: Deployment, three_nodes: ThreeNodes) -> None:
    deployment.configure("runParameters.model=softmax", "runParameters.max_steps=200")
    deployment.configure("servingReplicas=2")
    assert deployment.up().returncode == 0
    await_servers(deployment, 2)
    assert len(set(servers(deployment).values())) == 2


def test_a_roll_out_costs_no_request_though_a_node_hears_of_it_late(
    deployment: Deployment, three_nodes: ThreeNodes
) -> None:
    with traffic(deployment) as seen:
        with late(three_nodes):
            roll_out(deployment)
        seen.await_answers(20)
    assert seen.failed == []


def gone(deployment: Deployment, names: dict[str, str]) -> bool:
    return not names.keys() & set(deployment.names("pods"))


def test_more_and_fewer_pods_cost_no_request(
    deployment: Deployment, three_nodes: ThreeNodes
) -> None:
    with traffic(deployment) as seen:
        do(deployment, "scale", "deployment/prediction", "--replicas=3")
        await_servers(deployment, 3)
        three = servers(deployment)
        assert len(set(three.values())) == 3
        seen.await_answers(20)
        do(deployment, "scale", "deployment/prediction", "--replicas=2")
        await_servers(deployment, 2)
        two = servers(deployment)
        eventually(lambda: gone(deployment, {name: "" for name in three.keys() - two}), 120)
        seen.await_answers(20)
    assert seen.failed == []


def test_a_node_that_is_drained_costs_no_request(
    deployment: Deployment, three_nodes: ThreeNodes
) -> None:
    """Of two nodes at once, of which both have a pod: one waits until the other's is elsewhere."""
    with traffic(deployment) as seen:
        for node in ("dlstack-2", "dlstack-3"):
            three_nodes.cordon(node)
        for node in ("dlstack-2", "dlstack-3"):
            three_nodes.drain(node)
        await_servers(deployment, 2)
        assert set(servers(deployment).values()) == {"dlstack"}
        seen.await_answers(20)
    assert seen.failed == []


def test_a_killed_node_costs_what_it_has_and_what_is_sent_there_until_it_is_noticed(
    deployment: Deployment, three_nodes: ThreeNodes
) -> None:
    """A client that asks again gets every answer meanwhile; without, no request is lost before."""
    # To its end: a moment in the middle has pods on two nodes as well, and then on others.
    roll_out(deployment)
    assert len(set(servers(deployment).values())) == 2
    lost = next(node for node in servers(deployment).values() if node != "dlstack")
    (address,) = (
        pod["status"]["podIP"]
        for pod in deployment.items("pods", "--selector=app.kubernetes.io/name=prediction")
        if pod["spec"].get("nodeName") == lost
    )
    outputs = deployment.outputs()
    host, model, port = (str(outputs[key]) for key in ("host", "modelName", "grpcPort"))
    with traffic(deployment, LOST_SECONDS) as seen:
        seen.await_answers(50)
        assert seen.failed == []
        killed = time.monotonic()
        three_nodes.kill(lost)
        with Client(host, model, port=int(port), retries=9, timeout=60) as patient:
            assert patient.status()
        three_nodes.await_loss(lost)
        noticed = time.monotonic()
        # Of the lost node's pod Kubernetes says a moment later than of the node that it is lost.
        eventually(lambda: lost not in servers(deployment).values(), 180)
        await_servers(deployment, 2)
        serving = time.monotonic()
        forget_connections(three_nodes, address)
        after_all = time.monotonic() + 2 * LOST_SECONDS
        eventually(lambda: time.monotonic() > after_all, 3 * LOST_SECONDS)
        # A channel of gRPC's own settings keeps a dead connection until the kernel gives it up,
        # after some 15 minutes. dlstack's client makes another one: it was asked above.
        others = [kind for kind in KINDS if kind != "grpc kept"]
        after = [one for one in seen.failed if one[1] > serving + LOST_SECONDS and one[0] in others]
        print(
            f"noticed after {noticed - killed:.0f} s, two pods after {serving - killed:.0f} s",
            sorted((round(sent - killed), kind) for kind, sent, _ in seen.failed),
        )
        seen.await_answers(20, kinds=others)
    assert after == []
