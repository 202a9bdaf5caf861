"""A prediction service that is disturbed: a server killed under load, the object store away.

The tests build on each other and run in the order in which they stand here. Not covered: the loss
of a whole node, which the one-node cluster of `make up` would not survive itself.
"""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from client import Client, PredictionError
from local.stack import held_out

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

SERVERS = "app.kubernetes.io/name=prediction"
STORE = "app.kubernetes.io/name=object-store"

CLIENTS = {"grpc": 4, "rest": 4}
"""Each connection goes to one of the replicas at random: so many that each replica has some."""

PAUSE_SECONDS = 0.02
"""From an answer to the next request: what is disturbed has to get its turn on a small machine."""

RETRIES = 9
TIMEOUT = 40
"""Seconds. Until Kubernetes sees that a server is gone, every other connection still goes to it;
gRPC itself pauses longer after each that is refused."""

SECONDS_WITHOUT_STORE = 10
"""With a server that has come back. None of the parts that answer looks for the store at all."""


@dataclass
class Load:
    """Requests that clients make one after the other, all the time."""

    answered: Counter[str] = field(default_factory=Counter)
    """By transport."""
    asked_again: Counter[str] = field(default_factory=Counter)
    """Those of `answered` whose first try failed."""
    in_a_row: Counter[int] = field(default_factory=Counter)
    """By client, its newest answers: none of them needed a second try."""
    wrong: list[str] = field(default_factory=list)
    """Errors in spite of retries, and answers that are another request's, or none of before."""
    slowest: float = 0.0
    """Seconds, retries included."""

    def await_answers(self, count: int) -> None:
        """Return when each transport has got so many more of them."""
        before = self.answered.copy()
        # Of a copy: the first answer of a transport would change it meanwhile.
        while min((self.answered.copy() - before)[transport] for transport in CLIENTS) < count:
            assert not self.wrong
            time.sleep(0.05)

    def await_calm(self, count: int) -> None:
        """Return when the newest answers of each client, so many, needed no second try.

        One alone may wait long for its second try, or its connection, while others are answered.
        """
        while min(self.in_a_row[client] for client in range(sum(CLIENTS.values()))) < count:
            assert not self.wrong
            time.sleep(0.05)

    def await_undisturbed_answers(self, count: int) -> None:
        """Return when each has got so many more, and none of these needed a second try."""
        before = self.asked_again.copy()
        self.await_answers(count)
        assert self.asked_again.copy() == before


@contextmanager
def load(deployment) -> Iterator[Load]:
    outputs = deployment.outputs()
    ports = {"grpc": outputs["grpcPort"], "rest": urlsplit(str(outputs["restUrl"])).port}
    count = sum(CLIENTS.values())
    images, _ = held_out.pictures(deployment.data_dir, count)
    pixels = np.stack([np.asarray(image, np.float32).ravel() / 255 for image in images])
    seen = Load()
    stop = threading.Event()
    lock = threading.Lock()

    def client(transport: str, retries: int) -> Client:
        return Client(
            str(outputs["host"]),
            str(outputs["modelName"]),
            port=ports[transport],
            transport=transport,  # type: ignore[arg-type]
            retries=retries,
            timeout=TIMEOUT,
        )

    def ask(number: int, transport: str) -> None:
        # Each has an order of digits of its own, so that an answer to another would be noticed.
        mine = np.roll(pixels, number, axis=0)
        wanted = np.roll(expected, number).tolist()
        with client(transport, 0) as first, client(transport, RETRIES) as patient:
            while not stop.is_set():
                started = time.monotonic()
                again, problem = False, ""
                try:
                    try:
                        answer = first.predict(mine)
                    except PredictionError:
                        again = True
                        answer = patient.predict(mine)
                    found = answer.outputs["predictions"].tolist()
                    if found != wanted:
                        problem = f"{transport}: {found}, not {wanted}"
                except PredictionError as error:
                    problem = f"{transport}: {type(error).__name__}: {error}"
                with lock:
                    seen.answered[transport] += not problem
                    seen.asked_again[transport] += again
                    seen.in_a_row[number] = 0 if again or problem else seen.in_a_row[number] + 1
                    seen.wrong += filter(None, [problem])
                    seen.slowest = max(seen.slowest, time.monotonic() - started)
                stop.wait(PAUSE_SECONDS)

    with client("grpc", RETRIES) as one:
        expected = one.predict(pixels).outputs["predictions"]
    transports = [transport for transport, clients in CLIENTS.items() for _ in range(clients)]
    threads = [threading.Thread(target=ask, args=numbered) for numbered in enumerate(transports)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        print(
            f"{dict(seen.answered)} answered, {dict(seen.asked_again)} of them at a second try, "
            f"the slowest in {seen.slowest:.2f} s"
        )


def pods(deployment, selector: str) -> list[dict[str, Any]]:
    return deployment.items("pods", "--selector", selector)


def state(pod: dict[str, Any]) -> tuple[str, int, bool]:
    """Return a pod's name, how often its model server was started again, and if it is ready."""
    statuses = pod.get("status", {}).get("containerStatuses", [])
    server = {status["name"]: status for status in statuses}.get("server", {})
    return pod["metadata"]["name"], server.get("restartCount", 0), server.get("ready", False)


def await_states(deployment, wanted: Sequence[tuple[str, int, bool]]) -> None:
    until = time.monotonic() + 300
    while sorted(states := [state(pod) for pod in pods(deployment, SERVERS)]) != sorted(wanted):
        assert time.monotonic() < until, f"{states}, not {wanted}"
        time.sleep(0.5)


def processes(uid: str) -> list[int]:
    """Return the processes of this machine that are a model server of the pod with this uid."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if uid in (folder / "cgroup").read_text() and words[1:3] == [b"-m", b"serving"]:
                found.append(int(folder.name))
        except OSError:
            continue  # Gone meanwhile.
    return found


def kill_server(deployment, pod: dict[str, Any]) -> None:
    """Kill -9; on a cluster whose processes are out of reach, end it in the hardest way allowed."""
    if deployment.platform.brought_kubeconfig is None:
        [process] = processes(pod["metadata"]["uid"])
        os.kill(process, signal.SIGKILL)
        return
    # The first process of a container is safe from its own kill -9.
    code = "import os, signal; os.kill(1, signal.SIGTERM)"
    words = ("exec", pod["metadata"]["name"], "--container=server", "--")
    assert deployment.kubectl(*words, "python3", "-c", code).returncode == 0


def test_two_replicas_serve(deployment):
    deployment.configure("runParameters.model=softmax", "servingReplicas=2")
    assert deployment.up().returncode == 0
    # `up` has ended, but the pod of the version before may still be on its way out.
    until = time.monotonic() + 300
    while len(found := pods(deployment, SERVERS)) > 2:
        leaving = [pod for pod in found if "deletionTimestamp" in pod["metadata"]]
        assert len(found) - len(leaving) == 2 and time.monotonic() < until
        time.sleep(0.5)
    assert [state(pod)[1:] for pod in found] == [(0, True)] * 2


def test_a_server_killed_under_load_costs_no_request(deployment):
    victim, other = pods(deployment, SERVERS)
    with load(deployment) as seen:
        seen.await_undisturbed_answers(100)
        if deployment.platform.brought_kubeconfig is None:
            kill_server(deployment, victim)
            await_states(deployment, [(state(victim)[0], 1, True), state(other)])
        else:
            name = victim["metadata"]["name"]
            gone = deployment.kubectl("delete", "pod", name, "--grace-period=0", "--force")
            assert gone.returncode == 0
            rolled_out(deployment, "prediction")
        # Until every connection has found a server that answers.
        seen.await_answers(50)
        seen.await_calm(20)
        seen.await_undisturbed_answers(100)
    assert seen.wrong == []


def rolled_out(deployment, name: str) -> None:
    words = ("rollout", "status", f"deployment/{name}", "--timeout=300s")
    done = deployment.kubectl(*words)
    assert done.returncode == 0, done.stderr


def scale_store(deployment, replicas: int) -> None:
    words = ("scale", "deployment", "object-store", f"--replicas={replicas}")
    assert deployment.kubectl(*words).returncode == 0


@pytest.fixture
def without_store(deployment) -> Iterator[None]:
    scale_store(deployment, 0)
    try:
        until = time.monotonic() + 300
        while pods(deployment, STORE):
            assert time.monotonic() < until
            time.sleep(0.5)
        yield
    finally:
        scale_store(deployment, 1)
        rolled_out(deployment, "object-store")


def test_without_the_object_store_predictions_go_on_and_a_killed_server_comes_back(
    deployment, without_store
):
    victim, other = pods(deployment, SERVERS)
    name, restarts, _ = state(victim)
    with load(deployment) as seen:
        kill_server(deployment, victim)
        # From the copy in its pod: the init container does not run again.
        await_states(deployment, [(name, restarts + 1, True), state(other)])
        seen.await_answers(50)
        seen.await_calm(20)
        until = time.monotonic() + SECONDS_WITHOUT_STORE
        while time.monotonic() < until:
            seen.await_undisturbed_answers(100)
        assert pods(deployment, STORE) == []
    assert seen.wrong == []


def test_with_the_object_store_back_there_is_nothing_to_mend(deployment):
    done = deployment.pulumi("up", "--yes", "--skip-preview", "--refresh", "--expect-no-changes")
    assert done.returncode == 0
    with load(deployment) as seen:
        seen.await_undisturbed_answers(100)
    assert seen.wrong == []
