"""Stacks whose `pulumi up` and `pulumi destroy` are killed half-way: the next command goes on.

A life of a stack has three commands, each killed at a moment of its progress: the first `up`, a
change, a destroy. `make test` runs one life; `make test-kills` runs each way at each moment. What a
person has to do is in docs/recovery.md: the same command again, or `pulumi cancel` before it, which
Pulumi prints.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.__main__ import Platform
from local.home import REPOSITORY
from tests.cluster.conftest import Deployment, json_at, new_stack
from tests.cluster.killed.updates import (
    DYNAMIC_PROVIDER,
    KUBERNETES_PLUGIN,
    LANGUAGE_HOST,
    Moment,
    Process,
    Update,
)
from tests.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

MODEL = "killed"
FIRST_UP = (
    Moment("the store's server is made", "object-store-server"),
    Moment("the data is uploaded", "data"),
    Moment("the Job is made", "training-job"),
    Moment("the service rolls out", "prediction-server"),
)
CHANGE = (
    Moment("another Job is made", "training-job"),
    Moment("it trains", "training-job", training=True),
    Moment("the service rolls out", "prediction-server", "update"),
)
DESTROY = (
    Moment("the service is deleted", "prediction-server", "delete"),
    Moment("a bucket is deleted", "data-bucket", "delete"),
    Moment("the namespace is deleted", "namespace", "delete"),
)
WAYS: dict[str, Callable[[Update], None]] = {
    "Ctrl-C": lambda update: update.interrupt(1),
    "Ctrl-C twice": lambda update: update.interrupt(2),
    "kill -9 of the command line": lambda update: update.kill_itself(),
    "kill -9 of all its processes": lambda update: update.kill_all(),
    "kill -9 of the language host": lambda update: update.kill(LANGUAGE_HOST),
    "kill -9 of the Kubernetes plugin": lambda update: update.kill(KUBERNETES_PLUGIN),
    "kill -9 of the dynamic provider": lambda update: update.kill(DYNAMIC_PROVIDER),
}


@dataclass(frozen=True)
class Kill:
    moment: Moment
    way: str


Life = tuple[Kill | None, Kill | None, Kill | None]
"""How the first `up`, a change and a destroy are killed."""

ONE_LIFE: Life = (
    Kill(FIRST_UP[2], "kill -9 of all its processes"),
    Kill(CHANGE[1], "kill -9 of the Kubernetes plugin"),
    Kill(DESTROY[1], "kill -9 of the command line"),
)


def kill_of(moments: tuple[Moment, ...], number: int, way: str) -> Kill | None:
    # A destroy runs no program, so there is no language host.
    if number >= len(moments) or (moments is DESTROY and way.endswith("language host")):
        return None
    return Kill(moments[number], way)


# The first seven lives meet each way and each moment.
ALL_LIVES: list[Life] = [
    (kill_of(FIRST_UP, number, way), kill_of(CHANGE, number, way), kill_of(DESTROY, number, way))
    for shift in range(len(FIRST_UP))
    for place, way in enumerate(WAYS)
    for number in [(place + shift) % len(FIRST_UP)]
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    lives = ALL_LIVES if metafunc.config.getoption("all_kills") else [ONE_LIFE]
    names = [", ".join(f"{k.way} when {k.moment.name}" for k in life if k) for life in lives]
    metafunc.parametrize("life", lives, ids=names)


@pytest.fixture(scope="module")
def left_behind(pytestconfig: pytest.Config) -> Iterator[list[Process]]:
    """The processes of all killed commands. In the end none is there any more."""
    processes: list[Process] = []
    yield processes
    if pytestconfig.getoption("all_kills"):
        await_end(processes)


def test_whatever_is_killed_the_next_command_reaches_the_wanted_state(
    life: Life, platform: Platform, tmp_path: Path, left_behind: list[Process]
) -> None:
    up, change, destroy = life
    with new_stack(platform, "cluster-killed") as deployment:
        deployment.configure(
            "flavour=cpu-small", f"modelName={MODEL}", "runParameters.model=softmax"
        )
        for runs, kill in ((1, up), (2, change)):
            deployment.configure(f"runParameters.max_steps={500 + runs}")
            left_behind += run_killed(deployment, "up", kill, tmp_path / str(runs))
            check_up(deployment, runs)
        left_behind += run_killed(deployment, "destroy", destroy, tmp_path / "destroy")
        check_destroyed(deployment)


def run_killed(
    deployment: Deployment, command: str, kill: Kill | None, folder: Path
) -> list[Process]:
    """Run a command, kill it, and do what it says until it is done: one command, or two.

    Returns:
        The processes that the killed command was made of.
    """
    processes = []
    if kill is not None:
        folder.mkdir()
        update = Update(deployment, command, folder)
        update.reach(kill.moment)
        processes = update.processes()
        WAYS[kill.way](update)
        assert update.end() != 0, f"{kill}: it had ended before"
    done = deployment.pulumi(command, "--yes", "--skip-preview")
    if done.returncode != 0:
        assert "locked" in done.stdout and "`pulumi cancel`" in done.stdout, kill
        assert deployment.pulumi("cancel", "--yes").returncode == 0
        done = deployment.pulumi(command, "--yes", "--skip-preview")
    assert done.returncode == 0, kill
    # Ours ends with the command line; Pulumi's own may take the five minutes of their health check.
    await_end([process for process in processes if DYNAMIC_PROVIDER in process.command], 120)
    return processes


def await_end(processes: list[Process], seconds: float = 330) -> None:
    until = time.monotonic() + seconds
    while left := [process for process in processes if process.is_alive()]:
        assert time.monotonic() < until, left
        time.sleep(0.2)


def check_up(deployment: Deployment, runs: int) -> None:
    """One Job, each run trained and published once, the newest served; nothing left to change."""
    assert deployment.pulumi("preview", "--expect-no-changes").returncode == 0
    (job,) = deployment.items("jobs")
    assert job["status"]["succeeded"] == 1
    outputs = deployment.outputs()
    published = [version["runHash"] for version in status(deployment)["versions"]]
    assert len(published) == len(set(published)) == runs
    assert outputs["modelVersion"] == runs
    url = f"{outputs['restUrl']}/v1/models/{MODEL}"

    def served() -> list[tuple[str, str]]:
        told = json_at(url)
        return [(o["version"], o["state"]) for o in told["model_version_status"]] if told else []

    # A new connection may lead to the pod of before until the node has heard of its end.
    eventually(lambda: served() == [(str(runs), "AVAILABLE")])


def status(deployment: Deployment) -> dict:
    done = subprocess.run(
        [sys.executable, "-m", "infra", "status", "--json"],
        cwd=REPOSITORY,
        env={**os.environ, **deployment.variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check_destroyed(deployment: Deployment) -> None:
    state = json.loads(deployment.pulumi("stack", "export").stdout)["deployment"]
    assert not state.get("resources")
    namespaces = deployment.kubectl("get", "namespace", deployment.namespace, "--ignore-not-found")
    assert (namespaces.returncode, namespaces.stdout) == (0, "")

    def has_volume() -> bool:
        listed = deployment.items("persistentvolumes")
        claims = [volume["spec"].get("claimRef", {}) for volume in listed]
        return deployment.namespace in [claim.get("namespace") for claim in claims]

    # A volume goes after its claim.
    eventually(lambda: not has_volume())
