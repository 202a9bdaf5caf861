"""A real cluster (the one of KUBECONFIG, or the embedded one) and one stack on it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.__main__ import Platform
from local.home import REPOSITORY
from local.stack.stack import Stack, data_set

STACK = "cluster-test"


@pytest.fixture(scope="session")
def platform(pytestconfig: pytest.Config) -> Platform:
    """The platform, up. `tests/conftest.py` stops it unless it ran before."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    # The first time takes many minutes of building: whoever waits is to see it.
    with capture.global_and_fixture_disabled():
        subprocess.run([sys.executable, "-m", "local", "up"], cwd=REPOSITORY, check=True)
    return Platform()


@dataclass
class Deployment:
    """The stack under test."""

    platform: Platform
    variables: Mapping[str, str]
    data_dir: Path

    def pulumi(self, *words: str, project: Path = REPOSITORY) -> "subprocess.CompletedProcess[str]":
        """Run pulumi on the stack; the output is shown when a test fails."""
        done = subprocess.run(
            ["pulumi", *words, "--stack", STACK, "--non-interactive"],
            cwd=project,
            env={**os.environ, **self.variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        print(done.stdout)
        return done

    def up(self) -> "subprocess.CompletedProcess[str]":
        return self.pulumi("up", "--yes", "--skip-preview")

    def configure(self, *values: str) -> None:
        """Set configuration keys of the program, each given as `key=value`."""
        words = [word for value in values for word in ("--plaintext", f"dlstack:{value}")]
        assert self.pulumi("config", "set-all", "--path", *words).returncode == 0

    def outputs(self) -> dict[str, object]:
        return json.loads(self.pulumi("stack", "output", "--json").stdout)

    def kubectl(self, *words: str, given: str | None = None) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["kubectl", *words],
            input=given,
            env={**os.environ, **self.variables},
            capture_output=True,
            text=True,
        )

    def names(self, kind: str) -> list[str]:
        """Names of the objects of a kind in the stack's namespace."""
        listed = self.kubectl("get", kind, "--namespace", f"dlstack-{STACK}", "--output", "json")
        return [item["metadata"]["name"] for item in json.loads(listed.stdout)["items"]]


@pytest.fixture(scope="module")
def deployment(platform: Platform) -> Iterator[Deployment]:
    """A new, empty stack; destroyed at the end, whatever the tests did."""
    variables = {**platform.environment(), "PULUMI_STACK": STACK}
    deployment = Deployment(platform, variables, data_set(platform.home))
    defaults = {"dataDir": str(deployment.data_dir)}
    if platform.brought_kubeconfig is None:
        defaults["host"] = "127.0.0.1"
    Stack(variables).configure({"runtimeImage": platform.runtime_image}, defaults)
    try:
        yield deployment
    finally:
        deployment.pulumi("destroy", "--yes", "--skip-preview")
        deployment.pulumi("stack", "rm", "--yes", "--force")
        if platform.brought_kubeconfig is None:
            platform.cluster.recycle_volumes()
