"""What can't run here, as far as it can be checked without.

The API server takes every object as it stands (`--dry-run=server`: schema, defaults, admission),
and a node that says it has GPUs gets the job.

Not covered: that a GPU computes, a load balancer answers, or the official image serves.
"""

import json
import os
import subprocess

import pytest

from infra.cluster import nodes
from infra.cluster.clusters import Cluster
from infra.settings import flavours
from local.kubernetes.nodes import FIRST
from tests.infra.conftest import (  # noqa: F401  (fixtures)
    configure,
    current_event_loop,
    engine,
    event_loop,
    fake_cluster,
    node,
    project,
    stores_that_answer,
    up,
)
from tests.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

NAMESPACE = "dlstack-dev"
POOL = {"dlstack.dev/pool": "amd"}
GPU_NODE = {"resources": {"nvidia.com/gpu": "4", "amd.com/gpu": "4"}, "labels": POOL}
AMD = {
    "cpu": 8,
    "memory": "64Gi",
    "gpus": 1,
    "gpuResource": "amd.com/gpu",
    "nodeSelector": POOL,
    "tolerations": [
        {"key": "team", "value": "a", "effect": "NoSchedule"},
        {"key": "spot", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60},
    ],
}
OWN_FLAVOUR = {
    "flavours": json.dumps({"amd-1": AMD}),
    "flavour": "amd-1",
    "servingFlavour": "amd-1",
}


@pytest.fixture(scope="module")
def kubectl(platform):
    """`kubectl`, given an object, and a namespace that takes restricted pods only."""
    variables = {**os.environ, **platform.environment()}

    def run(*words: str, given: object = None) -> "subprocess.CompletedProcess[str]":
        text = None if given is None else json.dumps(given)
        return subprocess.run(
            ["kubectl", *words], env=variables, input=text, capture_output=True, text=True
        )

    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace"}
    namespace |= {"metadata": {"name": NAMESPACE, "labels": labels}}
    assert run("create", "-f", "-", given=namespace).returncode == 0
    yield run
    run("delete", "namespace", NAMESPACE)


def objects(engine) -> list[dict]:  # noqa: F811
    """The Kubernetes objects that the program declared, as the API takes them."""
    found = []
    for resource in engine.resources:
        kind = resource.type.rpartition(":")[2]
        if not resource.type.startswith("kubernetes:") or kind in ("Namespace", "Secret"):
            continue
        declared = json.loads(json.dumps(resource.inputs))
        declared["metadata"].setdefault("name", resource.name)
        found.append(declared)
    return found


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"servingEngine": "tensorflow-serving", "servingReplicas": "3"},
        {
            "serviceType": "LoadBalancer",
            "insecure": "true",
            "loadBalancerSourceRanges": "192.0.2.0/24",
            "serviceAnnotations": '{"example.com/internal": "true"}',
        },
        {"serviceType": "Ingress", "host": "models.example.com", "insecure": "true"},
        {"flavour": "gpu-1", "servingFlavour": "gpu-1"},
        OWN_FLAVOUR,
        {"nodeCount": "4", "retries": "3", "flavour": "gpu-1"},
        {"s3Region": "eu-central-1", "s3AccessKey": "a", "s3SecretKey": "b"},
    ],
    ids=lambda settings: " ".join(v for v in settings.values() if "{" not in v) or "defaults",
)
def test_the_api_server_takes_every_object(settings, kubectl, up, engine, fake_cluster):  # noqa: F811
    fake_cluster.nodes(node("big", "64", "512Gi", **GPU_NODE))
    up(**settings)
    declared = objects(engine)
    assert {"Deployment", "Job", "Service", "ConfigMap"} <= {o["kind"] for o in declared}
    items = {"apiVersion": "v1", "kind": "List", "items": declared}
    done = kubectl("create", "--dry-run=server", "--filename=-", given=items)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr


@pytest.mark.parametrize(
    ("settings", "resource"),
    [({"flavour": "gpu-1"}, "nvidia.com/gpu"), (OWN_FLAVOUR, "amd.com/gpu")],
    ids=["nvidia", "amd"],
)
def test_a_node_that_advertises_gpus_gets_the_job(
    settings,
    resource,
    kubectl,
    platform,
    up,  # noqa: F811
    engine,  # noqa: F811
    fake_cluster,  # noqa: F811
):
    if platform.brought_kubeconfig is not None:
        pytest.skip("changes the status of a node, which is the embedded cluster's to bear")
    fake_cluster.nodes(node("big", "64", "512Gi", **GPU_NODE))
    up(**settings)
    (job,) = [o for o in objects(engine) if o["kind"] == "Job"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"][resource] == "1"
    # The node has the GPUs only in name, and not the cores: neither is what is tried here.
    container["resources"] = {"limits": {"cpu": "50m", "memory": "64Mi", resource: "1"}}
    container |= {"image": platform.runtime_image, "command": ["python3", "-c", "pass"], "env": []}
    job["spec"]["template"]["spec"]["volumes"] = []
    container["volumeMounts"] = []
    status = f"/status/{{}}/{resource.replace('/', '~1')}"
    patch = [
        {"op": "add", "path": status.format(place), "value": "4"}
        for place in ("capacity", "allocatable")
    ]
    words = ("patch", "node", FIRST, "--subresource=status", "--type=json")
    assert kubectl(*words, "--patch", json.dumps(patch)).returncode == 0
    try:
        created = kubectl("create", "--filename=-", "--output=jsonpath={.metadata.uid}", given=job)
        assert created.returncode == 0, created.stderr
        # Not those of a Job before, which may still be going.
        selector = f"--selector=batch.kubernetes.io/controller-uid={created.stdout}"
        pods = ("pods", selector, "--namespace", NAMESPACE)
        if resource == "amd.com/gpu":
            # No node has the label that its flavour selects.
            eventually(lambda: kubectl("get", *pods, "--output=name").stdout)
            done = kubectl(
                *("wait", *pods, "--timeout=120s"),
                "--for=jsonpath={.status.conditions[0].reason}=Unschedulable",
            )
            assert done.returncode == 0, done.stderr
            ((label, value),) = POOL.items()
            assert kubectl("label", "node", FIRST, f"{label}={value}").returncode == 0
        done = kubectl(
            *("wait", "job", job["metadata"]["name"], "--namespace", NAMESPACE),
            *("--for=condition=Complete", "--timeout=180s"),
        )
        assert done.returncode == 0, done.stderr
    finally:
        undo = [{"op": "remove", "path": change["path"]} for change in patch]
        kubectl(*words, "--patch", json.dumps(undo))
        kubectl("label", "node", FIRST, *(f"{label}-" for label in POOL))
        kubectl("delete", "job", "--all", "--namespace", NAMESPACE)


def test_the_nodes_of_a_real_cluster_are_read(kubectl, platform, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", platform.environment()["KUBECONFIG"])
    found = nodes.listed(Cluster(context="", uid="", server=""))
    assert found and all(one.cpu > 0 and one.memory_gib > 0 for one in found)
    small = flavours.find("cpu-small", "dlstack:flavour")
    assert nodes.lack(found, small, "dlstack:flavour") is None
