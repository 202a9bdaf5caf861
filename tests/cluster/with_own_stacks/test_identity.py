"""A stack on the wrong cluster, under another name, beside one of its name, without its state.

The other cluster is an API server of its own: what is asked of it is real, and no pod runs there.
Not covered: another context with other credentials, and clusters outside of this machine.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from local.__main__ import Platform
from local.home import REPOSITORY
from tests.cluster.conftest import Deployment, new_stack
from tests.cluster.other_cluster import another_cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

NAME = "cluster-identity"
ID_LABEL = "dlstack.dev/stack-id"
COMMANDS = [
    ("preview",),
    ("up", "--yes", "--skip-preview"),
    ("refresh", "--yes", "--skip-preview"),
    ("up", "--refresh", "--yes", "--skip-preview"),
    ("destroy", "--yes", "--skip-preview"),
]
ALL = pytest.mark.parametrize("words", COMMANDS, ids=" ".join)


@pytest.fixture(scope="module")
def deployment(platform: Platform) -> Iterator[Deployment]:
    with new_stack(platform, NAME) as deployment:
        deployment.configure("flavour=cpu-small", "runParameters.max_steps=200")
        assert deployment.up().returncode == 0
        yield deployment


@pytest.fixture(scope="module")
def other(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kubeconfig of another cluster."""
    if platform.brought_kubeconfig is not None:
        pytest.skip("runs a part of the embedded cluster's program")
    with another_cluster(platform, tmp_path_factory.mktemp("other")) as kubeconfig:
        yield kubeconfig


def with_variables(deployment: Deployment, **variables: object) -> Deployment:
    words = {name: str(value) for name, value in variables.items()}
    return replace(deployment, variables={**deployment.variables, **words})


def resources(deployment: Deployment) -> list[dict[str, Any]]:
    exported = json.loads(deployment.pulumi("stack", "export").stdout)
    return exported["deployment"].get("resources", [])


def identity(deployment: Deployment) -> Mapping[str, Any]:
    (found,) = [one for one in resources(deployment) if one["type"].endswith(":Identity")]
    return found["outputs"]


def infra(deployment: Deployment, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "infra", *words],
        cwd=REPOSITORY,
        env={**os.environ, **deployment.variables},
        capture_output=True,
        text=True,
    )


def uids(deployment: Deployment, *kinds: str) -> dict[str, str]:
    """UIDs of objects: those of one that was replaced are others."""
    items = [item for kind in kinds for item in deployment.items(kind)]
    return {f"{i['kind']} {i['metadata']['name']}": i["metadata"]["uid"] for i in items}


def kept(deployment: Deployment) -> dict[str, str]:
    return uids(deployment, "pvc", "deployments", "services", "jobs", "secrets")


class TestAnotherCluster:
    @ALL
    def test_is_refused_by_name_and_the_state_stays(self, deployment, other, words):
        """Symptom otherwise: `destroy` and `refresh` forget the stack, with exit status 0."""
        before, objects = resources(deployment), kept(deployment)
        done = with_variables(deployment, KUBECONFIG=other).pulumi(*words)
        assert done.returncode != 0
        own = identity(deployment)["cluster"]
        assert f"The stack is in the cluster '{own['server']}' (UID {own['uid']})" in done.stdout
        assert "of KUBECONFIG leads to 'https://127.0.0.1:" in done.stdout
        assert resources(deployment) == before
        assert kept(deployment) == objects

    @pytest.mark.parametrize("command", ["status", "runs", "logs"])
    def test_is_refused_by_the_commands_of_infra(self, deployment, other, command):
        done = infra(with_variables(deployment, KUBECONFIG=other), command)
        assert done.returncode == 1
        assert done.stderr.startswith("error: The stack is in the cluster 'https://")


class TestAClusterThatIsAway:
    @pytest.fixture(scope="class")
    def half_made(self, platform, tmp_path_factory) -> Iterator[Deployment]:
        """A stack that `pulumi up` had just begun to make when its cluster went away."""
        if platform.brought_kubeconfig is not None:
            pytest.skip("runs a part of the embedded cluster's program")
        folder = tmp_path_factory.mktemp("away")
        backend = tmp_path_factory.mktemp("backend")
        with another_cluster(platform, folder) as kubeconfig:
            variables = {**platform.environment(), "PULUMI_STACK": "cluster-away"}
            variables |= {"KUBECONFIG": str(kubeconfig), "PULUMI_BACKEND_URL": f"file://{backend}"}
            stack = Deployment("cluster-away", platform, variables, platform.home.cache / "mnist")
            assert stack.pulumi("stack", "init").returncode == 0
            stack.configure(
                f"runtimeImage={platform.runtime_image}",
                f"dataDir={stack.data_dir}",
                "host=127.0.0.1",
                "flavour=cpu-small",
            )
            node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "none"}}
            assert stack.kubectl("create", "-f", "-", given=json.dumps(node)).returncode == 0
            status = {"status": {"allocatable": {"cpu": "8", "memory": "64Gi"}}}
            words = ("--subresource=status", "--type=merge", "--patch", json.dumps(status))
            assert stack.kubectl("patch", "node", "none", *words).returncode == 0
            with (folder / "up.log").open("w+") as log:
                up = stack.start_pulumi("up", "--yes", "--skip-preview", output=log)
                deadline = time.monotonic() + 120
                while "deployment/object-store" not in stack.kubectl(
                    "get", "deploy", "-oname"
                ).stdout.replace(".apps", ""):
                    assert time.monotonic() < deadline and up.poll() is None, Path(
                        log.name
                    ).read_text()
                    time.sleep(0.2)
                up.send_signal(signal.SIGINT)
                up.wait()
        assert len(resources(stack)) > 5
        yield stack
        assert stack.pulumi("stack", "rm", "--yes", "--force").returncode == 0

    @ALL
    def test_has_not_lost_the_stack(self, half_made, words):
        """Symptom otherwise: the state is empty, and the stack refused when the cluster is back."""
        before = resources(half_made)
        done = half_made.pulumi(*words)
        assert done.returncode != 0
        assert "No Kubernetes answers at 'https://127.0.0.1:" in done.stdout
        assert resources(half_made) == before
