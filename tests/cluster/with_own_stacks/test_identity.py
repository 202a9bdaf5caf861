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
    with new_stack(platform, NAME, destroyed=True) as deployment:
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


def resources(deployment: Deployment) -> dict[str, dict[str, Any]]:
    """URN -> what the state has of each resource, but for what a refresh finds anew."""
    command = ["pulumi", "stack", "export", "--show-secrets", "--stack", deployment.name]
    variables = {**os.environ, **deployment.variables}
    # Not by `deployment.pulumi`, which prints what it reads.
    done = subprocess.run(command, cwd=REPOSITORY, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)["deployment"].get("resources", [])
    keys = ("type", "id", "inputs", "delete", "pendingReplacement")
    return {one["urn"]: {key: one.get(key) for key in keys} for one in listed}


def identity(deployment: Deployment) -> Mapping[str, Any]:
    kinds = resources(deployment).values()
    (found,) = [one for one in kinds if one["type"].endswith(":Identity")]
    return found["inputs"]


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
    @classmethod
    def half_made(cls, platform, tmp_path_factory) -> Iterator[Deployment]:
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
            # Kubernetes takes it for not ready, as it is.
            no_taints = ("--type=merge", "--patch", json.dumps({"spec": {"taints": None}}))
            assert stack.kubectl("patch", "node", "none", *no_taints).returncode == 0
            status = {"status": {"allocatable": {"cpu": "8", "memory": "64Gi"}}}
            words = ("--subresource=status", "--type=merge", "--patch", json.dumps(status))
            assert stack.kubectl("patch", "node", "none", *words).returncode == 0
            with (folder / "up.log").open("w+") as log:
                up = stack.start_pulumi("up", "--yes", "--skip-preview", output=log)
                deadline = time.monotonic() + 300
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
        # Without a guard yet, `destroy` comes to the Kubernetes plugin first.
        told = ("No Kubernetes answers at 'https://127.0.0.1:", "Kubernetes cluster is unreachable")
        assert any(text in done.stdout for text in told)
        assert resources(half_made) == before


def test_another_way_to_the_same_cluster_replaces_nothing(deployment):
    """Symptom otherwise: naming the context that is current anyway replaces the buckets."""
    before = kept(deployment)
    shown = deployment.kubectl("config", "current-context").stdout.strip()
    assert deployment.pulumi("config", "set", "kubernetes:context", shown).returncode == 0
    try:
        done = deployment.up()
        assert done.returncode == 0
        assert "replaced" not in done.stdout
        assert kept(deployment) == before
        assert infra(deployment, "status").returncode == 0
    finally:
        deployment.pulumi("config", "rm", "kubernetes:context")
    assert deployment.up().returncode == 0


@pytest.mark.parametrize("labels", [(ID_LABEL,), (ID_LABEL, "dlstack.dev/stack")])
def test_a_mark_that_was_taken_away_is_put_back(deployment, labels):
    """Symptom otherwise: the namespace is refused as somebody else's."""
    words = ("label", "namespace", deployment.namespace, *(f"{label}-" for label in labels))
    assert deployment.kubectl(*words).returncode == 0
    assert deployment.up().returncode == 0
    shown = deployment.kubectl("get", "namespace", deployment.namespace, "--output=json").stdout
    labelled = json.loads(shown)["metadata"]["labels"]
    assert labelled[ID_LABEL] == identity(deployment)["stack_id"]
    assert labelled["dlstack.dev/stack"] == deployment.namespace


def test_a_stack_of_the_same_name_of_another_back_end_is_refused(deployment, tmp_path):
    """Symptom otherwise: it takes over all objects, and its `destroy` deletes them."""
    before = kept(deployment)
    second = with_variables(deployment, PULUMI_BACKEND_URL=f"file://{tmp_path}")
    config = REPOSITORY / f"Pulumi.{NAME}.yaml"
    content = config.read_text()
    try:
        # The configuration is encrypted for the first one's back end.
        config.unlink()
        assert second.pulumi("stack", "init").returncode == 0
        config.write_text(content)
        for words in COMMANDS[:2]:
            done = second.pulumi(*words)
            assert done.returncode != 0
            owner = identity(deployment)["stack_id"]
            text = f"belongs to another stack, '{deployment.namespace}' with the id {owner}"
            assert text in done.stdout
        assert second.destroy().returncode == 0
    finally:
        config.write_text(content)
    assert kept(deployment) == before
    assert deployment.pulumi("preview", "--expect-no-changes").returncode == 0


class TestARenamedStack:
    @pytest.fixture(scope="class")
    @classmethod
    def renamed(cls, deployment) -> Iterator[Deployment]:
        name = f"{NAME}-new"
        assert deployment.pulumi("stack", "rename", name).returncode == 0
        yield replace(deployment, name=name)
        new = replace(deployment, name=name)
        assert new.pulumi("stack", "rename", NAME).returncode == 0
        for key in ("namespace", "bucketPrefix"):
            deployment.pulumi("config", "rm", f"dlstack:{key}")
        assert deployment.up().returncode == 0

    def test_keeps_its_models_by_two_commands_that_are_printed(self, deployment, renamed):
        """Symptom otherwise: `pulumi up` deletes the namespace, and all models in it."""
        before = kept(deployment)
        for words in COMMANDS[:2]:
            done = renamed.pulumi(*words)
            assert done.returncode != 0
            for key in ("namespace", "bucketPrefix"):
                assert f"'pulumi config set dlstack:{key} {deployment.namespace}'" in done.stdout
        renamed.configure(*(f"{k}={deployment.namespace}" for k in ("namespace", "bucketPrefix")))
        done = renamed.up()
        assert done.returncode == 0
        assert "replaced" not in done.stdout
        assert kept(deployment) == before


def test_a_new_state_takes_over_what_bears_the_id_that_it_is_told(deployment):
    """The state is lost, as with its back end; the stack runs on."""
    before = uids(deployment, "pvc", "deployments", "services", "jobs")
    stack_id = identity(deployment)["stack_id"]
    words = ("stack", "rm", "--yes", "--force", "--preserve-config")
    assert deployment.pulumi(*words).returncode == 0
    assert deployment.pulumi("stack", "init").returncode == 0
    assert "belongs to another stack" in deployment.pulumi("preview").stdout
    deployment.configure(f"stackId={stack_id}")
    assert deployment.up().returncode == 0
    assert uids(deployment, "pvc", "deployments", "services", "jobs") == before
    assert deployment.outputs()["modelVersion"] == 1
    assert deployment.pulumi("preview", "--expect-no-changes").returncode == 0


def test_a_namespace_that_is_being_deleted_is_told_and_then_made_anew(deployment):
    """Last, as the stack does not outlive it."""
    held = {"metadata": {"name": "held", "finalizers": ["example.com/held"]}}
    held |= {"apiVersion": "v1", "kind": "ConfigMap"}
    assert deployment.kubectl("create", "-f", "-", given=json.dumps(held)).returncode == 0
    deployment.kubectl("delete", "namespace", deployment.namespace, "--wait=false")
    for words in COMMANDS[:2]:
        done = deployment.pulumi(*words)
        assert done.returncode != 0
        assert f"The namespace '{deployment.namespace}' is being deleted since 20" in done.stdout
    no_finalizer = json.dumps({"metadata": {"finalizers": None}})
    deployment.kubectl("patch", "configmap", "held", "--type=merge", "--patch", no_finalizer)
    gone = ("wait", "--for=delete", f"namespace/{deployment.namespace}", "--timeout=5m")
    assert deployment.kubectl(*gone).returncode == 0
