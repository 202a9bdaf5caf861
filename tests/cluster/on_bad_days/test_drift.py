"""What was deleted or edited by hand is put right by `pulumi up --refresh`, on a real cluster.

One stack, disturbed in one way after the other; after each it has to serve, and the next preview
has to be clean. Not covered: what happens while an `up` runs (test_disturbances.py).
"""

import json
import time
from collections.abc import Iterator
from hashlib import sha256

import pytest

from local.__main__ import Platform
from local.console import LocalError
from local.home import REPOSITORY
from local.stack import held_out
from tests.cluster.conftest import Deployment, new_stack
from tests.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def deployment(platform: Platform) -> Iterator[Deployment]:
    with new_stack(platform, "cluster-drift") as deployment:
        deployment.configure("flavour=cpu-small", "runParameters.model=softmax")
        deployment.configure("runParameters.max_steps=200")
        assert deployment.up().returncode == 0
        assert serves(deployment)
        yield deployment


def serves(deployment: Deployment) -> bool:
    """Ask for the answers of a few digits, as a person does."""

    def asked() -> tuple[list[int], list[int]] | None:
        try:
            return held_out.predict(deployment.variables, deployment.data_dir, 20)
        except LocalError:
            # A new connection may lead to a pod of before until the node has heard of its end.
            return None

    truths, answers = eventually(asked, 120)
    return sum(a == t for a, t in zip(answers, truths, strict=True)) >= 10


def repair(deployment: Deployment) -> str:
    """Run `pulumi up --refresh`, which has to put everything right; return its output."""
    done = deployment.pulumi("up", "--yes", "--skip-preview", "--refresh")
    assert done.returncode == 0
    assert serves(deployment)
    assert deployment.pulumi("preview", "--expect-no-changes").returncode == 0
    return done.stdout


def do(deployment: Deployment, *words: str) -> None:
    done = deployment.kubectl(*words)
    assert done.returncode == 0, done.stderr


def trained(deployment: Deployment) -> set[str]:
    """What the logs of all runs say at the end of a training; one that made no step counts not."""
    client, bucket = deployment.store(), f"{deployment.namespace}-output"
    lines = set()
    for entry in client.list_objects_v2(Bucket=bucket, Prefix="runs/").get("Contents", ()):
        if entry["Key"].endswith("log.txt"):
            text = client.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read().decode()
            ends = (line for line in text.splitlines() if "train_seconds" in line)
            lines |= {line for line in ends if "train_seconds 0 " not in line}
    return lines


def version(deployment: Deployment) -> int:
    return int(str(deployment.outputs()["modelVersion"]))


def keys_of_version(deployment: Deployment) -> list[str]:
    prefix = f"models/mnist/{version(deployment)}/"
    bucket = f"{deployment.namespace}-output"
    listed = deployment.store().list_objects_v2(Bucket=bucket, Prefix=prefix)
    return [entry["Key"] for entry in listed["Contents"]]


@pytest.mark.parametrize(
    "kinds", ["deployments,services,configmaps,networkpolicies,jobs", "secrets"]
)
def test_deleted_objects_are_made_again(deployment: Deployment, kinds: str) -> None:
    def there() -> set[str]:
        listed = deployment.kubectl("get", kinds, "--output=name").stdout.split()
        # Kubernetes' own comes by itself, and a published run needs no Job.
        return {one for one in listed if "kube-root-ca" not in one and not one.startswith("job")}

    before, lines = there(), trained(deployment)
    assert before
    do(deployment, "delete", kinds, "--all")
    repair(deployment)
    assert there() == before
    assert trained(deployment) == lines


EDITS = {
    "a service is scaled to 0": ("scale", "deployment", "prediction", "--replicas=0"),
    "the board is scaled to 0": ("scale", "deployment", "tensorboard", "--replicas=0"),
    "the store is scaled to 0": ("scale", "deployment", "object-store", "--replicas=0"),
    "a key of the store": (
        *("patch", "secret", "object-store"),
        '-p={"stringData":{"AWS_SECRET_ACCESS_KEY":"x"}}',
    ),
    "another image": ("set", "image", "deployment/tensorboard", "tensorboard=nowhere.invalid/x:1"),
    "another variable": ("set", "env", "deployment/prediction", "PYTHONPATH=/nowhere"),
    "a selector": (
        "patch",
        "service",
        "prediction",
        '-p={"spec":{"selector":{"app.kubernetes.io/name":"x"}}}',
    ),
    "a port": (
        *("patch", "service", "prediction", "--type=json"),
        '-p=[{"op":"replace","path":"/spec/ports/0/targetPort","value":9}]',
    ),
    "the description": ("patch", "configmap", "stack", '-p={"data":{"outputBucket":"x"}}'),
    "the namespace's label": ("label", "namespace", "{namespace}", "dlstack.dev/stack-"),
    "the namespace's mark": ("label", "namespace", "{namespace}", "dlstack.dev/stack-id-"),
    "a claim's label": ("label", "pvc", "--all", "app.kubernetes.io/name-"),
    "a label": ("label", "deployment", "prediction", "app.kubernetes.io/name-"),
}


def test_edited_objects_are_put_right(deployment: Deployment) -> None:
    """Symptom: an `up` that said all was well left a service without pods, or with others'.

    Of a store that was away: four resources failed, with advice for a key that was not set.
    """

    def now() -> dict[str, object]:
        kinds = ("deployments", "services", "pvc", "secret/object-store", "configmap/stack")
        return {
            f"{item['kind']} {item['metadata']['name']}": [
                item["metadata"].get("labels"),
                item.get("data"),
                item.get("spec"),
            ]
            for kind in (*kinds, "namespace/{namespace}")
            for item in _items(deployment, kind)
        }

    lines, before = trained(deployment), now()
    for edit, words in EDITS.items():
        seen = now()
        do(deployment, *(word.replace("{namespace}", deployment.namespace) for word in words))
        assert now() != seen, edit
    repair(deployment)
    assert now() == before
    assert trained(deployment) == lines


def _items(deployment: Deployment, kind: str) -> list[dict]:
    found = json.loads(
        deployment.kubectl(
            "get", *kind.replace("{namespace}", deployment.namespace).split("/"), "-ojson"
        ).stdout
    )
    return found.get("items", [found])


AUTOSCALER = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: keda-hpa-prediction}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: prediction}
  minReplicas: 2
  maxReplicas: 5
  metrics:
    - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}}
"""


def test_whoever_else_scales_labels_and_annotates_blocks_no_roll_out(
    deployment: Deployment,
) -> None:
    """Symptom: a number of pods that Kubernetes' own autoscaler wrote ended each later `up` in an
    apply conflict."""

    def replicas() -> int:
        return {one["metadata"]["name"]: one for one in deployment.items("deployments")}[
            "prediction"
        ]["spec"]["replicas"]

    done = deployment.kubectl("apply", "-f-", given=AUTOSCALER)
    assert done.returncode == 0, done.stderr
    eventually(lambda: replicas() == 2, 180)
    theirs = {"argocd.argoproj.io/instance": "team", "app.kubernetes.io/part-of": "others"}
    kinds = "deployments,services,configmaps,secrets,persistentvolumeclaims,networkpolicies"
    for item in [
        *deployment.items(kinds),
        *deployment.items("namespaces", f"--field-selector=metadata.name={deployment.namespace}"),
    ]:
        place = {key: item["metadata"].get(key) for key in ("name", "namespace")}
        document = {
            **{key: item[key] for key in ("apiVersion", "kind")},
            "metadata": {**place, "labels": theirs, "annotations": {"theirs": "seen"}},
        }
        words = ("apply", "--server-side", "--force-conflicts", "--field-manager=argocd", "-f-")
        done = deployment.kubectl(*words, given=json.dumps(document))
        assert done.returncode == 0, done.stderr
    deployment.configure("logFormat=json")
    assert deployment.up().returncode == 0
    (prediction,) = (
        one for one in deployment.items("deployments") if one["metadata"]["name"] == "prediction"
    )
    assert prediction["spec"]["replicas"] == 2
    metadata = prediction["metadata"]
    assert metadata["labels"]["argocd.argoproj.io/instance"] == "team"
    assert metadata["labels"]["app.kubernetes.io/part-of"] == "dlstack"
    assert metadata["annotations"]["theirs"] == "seen"
    do(deployment, "delete", "horizontalpodautoscaler", "keda-hpa-prediction")
    do(deployment, "scale", "deployment/prediction", "--replicas=1")
    # From here on the stack's own: an `up` ends with the number that is the least, and leaves no
    # autoscaler behind that would write it once more.
    deployment.configure("logFormat=text", "servingReplicas.min=2", "servingReplicas.max=3")
    assert deployment.up().returncode == 0
    assert replicas() == 2
    assert deployment.names("horizontalpodautoscalers") == ["prediction"]
    deployment.pulumi("config", "rm", "dlstack:servingReplicas")
    repair(deployment)
    assert replicas() == 1
    assert deployment.names("horizontalpodautoscalers") == []


def test_what_belongs_into_the_buckets_is_put_there_again(deployment: Deployment) -> None:
    """Symptom: of a damaged version: the next pod to start could not, and no command helped.

    Versions of which more is lost are in test_runs.py.
    """
    client = deployment.store()
    data, output = (f"{deployment.namespace}-{name}" for name in ("data", "output"))

    def content(key: str) -> bytes:
        return client.get_object(Bucket=data, Key=key)["Body"].read()

    here = {"code": REPOSITORY / "training/mnist", "data": deployment.data_dir}

    def blob(path: str) -> str:
        folder, _, name = path.partition("/")
        return f"blobs/{sha256((here[folder] / name).read_bytes()).hexdigest()}"

    deleted = [*map(blob, ["data/train-labels-idx1-ubyte.gz", "code/train_mnist.py"])]
    overwritten = [*map(blob, ["data/t10k-labels-idx1-ubyte.gz", "code/mnist_data.py"])]
    lines, before = trained(deployment), [content(key) for key in deleted + overwritten]
    for key in deleted:
        client.delete_object(Bucket=data, Key=key)
    for key in overwritten:
        client.put_object(Bucket=data, Key=key, Body=b"somebody's")
    (model,) = [key for key in keys_of_version(deployment) if key.endswith("saved_model.pb")]
    size = client.head_object(Bucket=output, Key=model)["ContentLength"]
    # Within the second of its manifest it might be of the publication.
    time.sleep(1.1)
    client.put_object(Bucket=output, Key=model, Body=b"?" * size)
    repair(deployment)
    assert [content(key) for key in deleted + overwritten] == before
    # And pods of the version can start anew.
    do(deployment, "rollout", "restart", "deployment/prediction")
    do(deployment, "rollout", "status", "deployment/prediction", "--timeout=300s")
    assert serves(deployment)
    assert trained(deployment) == lines


def test_buckets_are_made_again(deployment: Deployment) -> None:
    """With what belongs there: models are trained again."""
    client = deployment.store()
    for name in (f"{deployment.namespace}-data", f"{deployment.namespace}-output"):
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=name)
        for key in [entry["Key"] for page in pages for entry in page.get("Contents", ())]:
            client.delete_object(Bucket=name, Key=key)
        client.delete_bucket(Bucket=name)
    repair(deployment)
    assert trained(deployment)


def test_without_its_volume_the_stack_trains_again(deployment: Deployment) -> None:
    """Models and runs are gone with it."""
    (claim,) = deployment.names("persistentvolumeclaims")
    do(deployment, "delete", "persistentvolumeclaim", claim, "--wait=false")
    # Kubernetes keeps a claim as long as a pod uses it.
    do(deployment, "delete", "pod", "--selector=app.kubernetes.io/name=object-store")
    done = deployment.pulumi("up", "--yes", "--skip-preview", "--refresh")
    # Nobody could ask the store what it has, before it was there again.
    assert done.returncode == 0 or "Run 'pulumi up' again" in done.stdout
    repair(deployment)
    assert trained(deployment)


def test_without_its_namespace_the_stack_is_made_anew(deployment: Deployment) -> None:
    do(deployment, "delete", "namespace", deployment.namespace, "--wait=false")
    done = deployment.pulumi("up", "--yes", "--skip-preview", "--refresh")
    # Told, with the command that waits, unless it was quick: never made into what is going.
    told = (
        "kubectl wait --for=delete",
        # It was there when the state was refreshed, and gone when the program looked.
        f'namespaces "{deployment.namespace}" not found',
        "Run 'pulumi refresh', then 'pulumi up'",
    )
    assert done.returncode == 0 or any(words in done.stdout for words in told)
    if done.returncode:
        # Kubernetes looks at it again after half of the time that its pods have to end.
        do(deployment, "wait", "--for=delete", f"namespace/{deployment.namespace}", "--timeout=5m")
        repair(deployment)
    assert serves(deployment)
    assert trained(deployment)
