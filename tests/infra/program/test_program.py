"""The resource graph as a whole; its parts, each for which settings: the files beside this one.

Providers are tested elsewhere.
"""

import os
import subprocess
from pathlib import Path
from typing import Any

import pulumi
import pytest

from tests.infra.conftest import CLUSTER, RUN_HASH, STACK, STACK_ID, Engine, Up

JOB = "kubernetes:batch/v1:Job"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
SERVICE = "kubernetes:core/v1:Service"
SECRET = "kubernetes:core/v1:Secret"
PACKAGE = "pulumi-python:dynamic/packages:Package"
BUCKET = "pulumi-python:dynamic/s3:Bucket"
MODEL = "pulumi-python:dynamic/models:PublishedModel"
CREDENTIALS = "pulumi-python:dynamic/credentials:GeneratedCredentials"

EXTERNAL = {
    "s3Endpoint": "https://s3.example.com/",
    "s3AccessKey": "ACCESS",
    "s3SecretKey": "hunter2",
}


def in_git(folder: Path, *words: str) -> str:
    """Run Git in `folder`, as somebody with an empty configuration; return what it prints."""
    who = [word for key in ("name", "email") for word in ("-c", f"user.{key}=tester")]
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def containers(inputs: dict[str, Any]) -> dict[str, dict[str, Any]]:
    spec = inputs["spec"]["template"]["spec"]
    return {c["name"]: c for c in [*spec.get("initContainers", []), *spec["containers"]]}


def environment(container: dict[str, Any]) -> dict[str, Any]:
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in container["env"]}


def pod_templates(engine: Engine) -> list[dict[str, Any]]:
    return [r.inputs["spec"]["template"] for r in engine.created(DEPLOYMENT) + engine.created(JOB)]


def test_outputs_are_those_of_the_contract(up: Up) -> None:
    outputs = up(host="203.0.113.1", grpcNodePort="31670")
    assert outputs == {
        "host": "203.0.113.1",
        "grpcPort": 31670,
        "restUrl": "http://203.0.113.1:30501",
        "tensorboardUrl": "http://tensorboard.dlstack-dev.svc:6006",
        "pageUrl": "http://203.0.113.1:30080",
        "modelName": "mnist",
        "modelVersion": 3,
        "runHash": RUN_HASH,
        "metrics": {"accuracy": 0.99},
        "provenance": {"commit": "c" * 40},
        "tls": False,
        "modelUrl": "stack:dlstack-dev/3",
    }


def test_everything_lies_in_one_namespace_that_enforces_restricted_pods(
    up: Up, engine: Engine
) -> None:
    up(namespace="mine")
    namespace = engine.the("kubernetes:core/v1:Namespace", "namespace")
    assert namespace["metadata"]["name"] == "mine"
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for resource in engine.resources:
        if resource.type.startswith("kubernetes:") and not resource.type.endswith(":Namespace"):
            assert resource.inputs["metadata"]["namespace"] == "mine", resource.name


def test_every_pod_fulfils_the_restricted_standard(up: Up, engine: Engine) -> None:
    up()
    for template in pod_templates(engine):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()


def test_volume_mounts_name_volumes_of_their_pod(up: Up, engine: Engine) -> None:
    up()
    for template in pod_templates(engine):
        spec = template["spec"]
        volumes = [volume["name"] for volume in spec["volumes"]]
        assert len(volumes) == len(set(volumes))
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes)


def test_selectors_find_the_pods_of_their_deployment_only(up: Up, engine: Engine) -> None:
    up()
    labels = [template["metadata"]["labels"] for template in pod_templates(engine)]
    for resource in [*engine.created(DEPLOYMENT), *engine.created(SERVICE)]:
        selector = resource.inputs["spec"]["selector"]
        selector = selector.get("matchLabels", selector)
        assert sum(selector.items() <= pod.items() for pod in labels) == 1, resource.name


def test_packages_are_where_python_finds_them(up: Up, engine: Engine) -> None:
    up()
    declared = {package.name: package.inputs for package in engine.created(PACKAGE)}
    assert {name: inputs["package"] for name, inputs in declared.items()} == {
        "training": "training",
        "serving": "serving",
        "store": "store",
        "model-check": "serving",
    }
    # Neither the examples nor what gets their data: the run hash covers what is here.
    assert set(declared["training"]["files"]) == {"training/__init__.py", "training/agent/run.py"}
    job = engine.the(JOB, "training-job")
    volumes = job["spec"]["template"]["spec"]["volumes"]
    (volume,) = [volume for volume in volumes if volume["name"] == "packages"]
    sources = [source["configMap"]["name"] for source in volume["projected"]["sources"]]
    assert sources == ["training-0a1b2", "store-0a1b2", "serving-0a1b2"]
    container = containers(job)["training"]
    assert (
        environment(container)["PYTHONPATH"] == "/opt/dlstack/training.zip:/opt/dlstack/store.zip"
    )
    (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "packages"]
    assert (mount["mountPath"], mount["readOnly"]) == ("/opt/dlstack", True)
    deployment = containers(engine.the(DEPLOYMENT, "prediction-server"))
    for name in ("server", "gateway", "sync"):
        search_path = environment(deployment[name])["PYTHONPATH"]
        assert search_path == "/opt/dlstack/serving.zip:/opt/dlstack/store.zip"


class TestRefusedBeforeAnythingIsCreated:
    def test_a_flavour_that_no_node_holds(self, up: Up, engine: Engine) -> None:
        with pytest.raises(pulumi.RunError, match="'one', has 4 cores, 16.0 GiB and 0 GPU"):
            up(flavour="gpu-4")


def test_the_namespace_and_what_describes_the_stack_bear_its_id(up: Up, engine: Engine) -> None:
    up()
    labels = engine.the("kubernetes:core/v1:Namespace", "namespace")["metadata"]["labels"]
    assert labels["dlstack.dev/stack-id"] == STACK_ID
    assert labels["dlstack.dev/stack"] == STACK
    assert engine.the("kubernetes:core/v1:ConfigMap", "description")["data"]["stackId"] == STACK_ID
    assert "stack_id" not in engine.the("pulumi-python:dynamic/stack:Identity", "identity")
    up(stackId="0b7c9f4e")
    assert engine.the("pulumi-python:dynamic/stack:Identity", "identity")["stack_id"] == "0b7c9f4e"


def test_a_renamed_stack_replaces_nothing(
    up: Up, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The selector of a Deployment can't change, and the name of the stack is in none."""
    kept = {"namespace": "ml", "bucketPrefix": "ml"}
    up(**kept)
    before = {one.name: one.inputs for one in engine.resources if "kubernetes:" in one.type}
    monkeypatch.setattr(pulumi, "get_stack", lambda: "prod")
    up(**kept)
    after = {one.name: one.inputs for one in engine.resources if "kubernetes:" in one.type}
    others = {name for name, inputs in after.items() if inputs != before[name]}
    assert others == {"namespace", "description"}


INSIDE = "prediction.dlstack-dev.svc"


@pytest.mark.parametrize(
    ("service_type", "known"),
    [
        ("NodePort", {"host": "10.0.0.3"}),
        ("LoadBalancer", {"grpcPort": 8500}),
        (
            "ClusterIP",
            {
                "host": INSIDE,
                "grpcPort": 8500,
                "restUrl": f"http://{INSIDE}:8501",
                "pageUrl": f"http://{INSIDE}:8080",
            },
        ),
    ],
)
def test_a_preview_of_a_new_stack_tells_what_it_knows_and_guesses_nothing(
    engine: Engine,
    up: Up,
    monkeypatch: pytest.MonkeyPatch,
    service_type: str,
    known: dict[str, Any],
) -> None:
    """A Service that isn't there has no node port, and a model that isn't trained no metrics."""
    monkeypatch.setattr(engine, "is_there", False)
    pulumi.runtime.set_mocks(engine, project="dlstack", stack="dev", preview=True)
    known["tensorboardUrl"] = "http://tensorboard.dlstack-dev.svc:6006"
    assert up(serviceType=service_type, insecure="true") == {
        "modelName": "mnist",
        "tls": False,
        **known,
    }


def test_all_kubernetes_objects_are_of_the_stacks_own_provider(up: Up, engine: Engine) -> None:
    """Pulumi's default one follows the shell: `pulumi destroy` would look in another cluster."""
    up()
    (provider,) = engine.created("pulumi:providers:kubernetes")
    # A secret, as the mock gets it.
    assert provider.inputs["kubeconfig"]["value"] == "the way to the cluster"
    assert provider.inputs["clusterIdentifier"] == CLUSTER["uid"]
    assert provider.inputs["deleteUnreachable"] == "false"
    objects = [one for one in engine.resources if one.type.startswith("kubernetes:")]
    assert len(objects) > 10
    for one in objects:
        assert one.provider.endswith("::kubernetes::kubernetes-id"), one
        annotations = one.inputs["metadata"]["annotations"]
        assert annotations["pulumi.com/patchForce"] == "true", one
        assert annotations["pulumi.com/patchFieldManager"] == "dlstack", one
