"""A stack whose object store changes: other keys, another address, another store, and back.

The tests build on each other. The stores are SeaweedFSs beside the cluster, at the node's address.
Not covered: https, and AWS S3 itself.
"""

import json
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest

from infra.commands import deployed
from local.__main__ import Platform
from store import bucket_marks
from tests.cluster.conftest import Deployment, new_stack, own_store
from tests.seaweedfs import SeaweedFS
from tests.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

DATA, OUTPUT = "moving-data", "moving-output"
MODELS = ["models/mnist/1/manifest.json", "models/mnist/2/manifest.json"]


@pytest.fixture(scope="module")
def first(platform: Platform) -> Iterator[SeaweedFS]:
    with own_store(platform) as store:
        yield store


@pytest.fixture(scope="module")
def second(platform: Platform) -> Iterator[SeaweedFS]:
    with own_store(platform) as store:
        yield store


@pytest.fixture(scope="module")
def deployment(platform: Platform, first, second) -> Iterator[Deployment]:
    with new_stack(platform, "cluster-moving", pauses=True) as deployment:
        deployment.configure(
            "bucketPrefix=moving",
            "flavour=cpu-small",
            "runParameters.model=softmax",
            "runParameters.max_steps=100",
        )
        try:
            yield deployment
        finally:
            deployment.configure("forceDestroy=true")


def use(deployment: Deployment, store: SeaweedFS | None, endpoint: str = "") -> None:
    """Configure a store of one's own, or none."""
    if store is None:
        for key in ("s3Endpoint", "s3AccessKey", "s3SecretKey"):
            assert deployment.pulumi("config", "rm", f"dlstack:{key}").returncode == 0
        return
    deployment.configure(f"s3Endpoint={endpoint or store.endpoint}")
    for key, value in (("s3AccessKey", store.access_key), ("s3SecretKey", store.secret_key)):
        set_ = ("config", "set", "--secret", f"dlstack:{key}", value)
        assert deployment.pulumi(*set_).returncode == 0


def keys(client, bucket: str = OUTPUT) -> list[str]:
    return [item["Key"] for item in client.list_objects_v2(Bucket=bucket).get("Contents", [])]


def manifests(client) -> list[str]:
    return [key for key in keys(client) if key.endswith("/manifest.json")]


def in_stack(deployment: Deployment, monkeypatch):
    """A client of the stack's own store."""
    for name in ("KUBECONFIG", "PATH", *(n for n in deployment.variables if "PULUMI" in n)):
        monkeypatch.setenv(name, deployment.variables[name])
    return deployed.find(deployed.selected(deployment.name)).connect().s3


def state(deployment: Deployment) -> set[str]:
    exported = json.loads(deployment.pulumi("stack", "export").stdout)
    return {resource["urn"] for resource in exported["deployment"].get("resources", [])}


@contextmanager
def asked_all_the_time(deployment: Deployment) -> Iterator[list[object]]:
    """Yield the answers of the model's REST status, once in 0.2 s, while the block runs."""
    outputs = deployment.outputs()
    url = f"{outputs['restUrl']}/v1/models/{outputs['modelName']}"
    answers: list[object] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.wait(0.2):
            try:
                with urllib.request.urlopen(url, timeout=60) as answer:
                    answers.append(answer.status)
            except OSError as error:
                answers.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        ended.set()
        thread.join()


@contextmanager
def another_address(store: SeaweedFS) -> Iterator[str]:
    """Yield another URL of the store: a port that leads to its own."""
    host, port = store.endpoint.removeprefix("http://").split(":")

    def pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    class Forward(BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((host, int(port))) as there:
                back = threading.Thread(target=pump, args=(there, self.request), daemon=True)
                back.start()
                pump(self.request, there)
                back.join()

    class Server(ThreadingTCPServer):
        daemon_threads = True

    with Server((host, 0), Forward) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{host}:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def address(first) -> Iterator[str]:
    with another_address(first) as url:
        yield url


def test_the_models_go_along_from_the_stacks_own_store(deployment, first):
    assert deployment.up().returncode == 0
    deployment.configure("runParameters.max_steps=150")
    assert deployment.up().returncode == 0
    use(deployment, first)
    with asked_all_the_time(deployment) as answers:
        done = deployment.up()
    assert done.returncode == 0
    assert f"copied from the stack's own store to the store at '{first.endpoint}'" in done.stdout
    assert manifests(first.client()) == MODELS
    assert deployment.outputs()["modelVersion"] == 2
    # A roll-out may drop a request at its hand-over.
    assert answers.count(200) >= len(answers) - 1
    assert deployment.names("deployments") == ["prediction", "tensorboard"]
    assert "object-store" not in deployment.names("secrets")


def test_a_rotated_key_replaces_nothing_but_tensorboards_pod(deployment, first):
    """Symptom: preview and up failed with "'Unknown' object has no attribute 'get'"."""
    # One of the last roll-out may still be ending.
    lasting = (one["metadata"] for one in deployment.items("pods"))
    pods = {meta["name"] for meta in lasting if "deletionTimestamp" not in meta}
    jobs = deployment.names("jobs")
    first.add_key()
    use(deployment, first)
    assert deployment.up().returncode == 0
    assert deployment.names("jobs") == jobs
    gone = pods - set(deployment.names("pods"))
    assert {name.partition("-")[0] for name in gone} <= {"tensorboard"}
    exported = deployment.pulumi("stack", "export").stdout
    assert first.secret_key not in exported and first.access_key not in exported
    # All that begins from here on has the new key: nothing misses the old one.
    first.revoke_old_keys()
    assert deployment.kubectl("rollout", "restart", "deployment/prediction").returncode == 0
    waited = deployment.kubectl("rollout", "status", "deployment/prediction", "--timeout=300s")
    assert waited.returncode == 0
    mirror = deployment.kubectl("logs", "deployment/tensorboard", "--container=mirror").stdout
    assert "Mirroring" in mirror and "refused" not in mirror
    assert "unchanged" in deployment.pulumi("up", "--yes", "--skip-preview", "--refresh").stdout


def test_another_address_of_the_same_store_copies_nothing(deployment, first, address):
    """Symptom: "the bucket exists already", and the advice to delete it, with all models."""
    before = bucket_id(first.client())
    use(deployment, first, address)
    done = deployment.up()
    assert done.returncode == 0
    assert "copied from" not in done.stdout
    assert bucket_id(first.client()) == before
    assert deployment.outputs()["modelVersion"] == 2


def bucket_id(client) -> str:
    mark = client.get_object(Bucket=OUTPUT, Key=bucket_marks.KEY)["Body"].read()
    return json.loads(mark)["bucket_id"]


def test_from_one_store_of_yours_to_another_the_old_buckets_stay(
    deployment, first, second, address
):
    use(deployment, second)
    done = deployment.up()
    assert done.returncode == 0
    assert f"aws s3 rb --force s3://{OUTPUT} --endpoint-url {address}" in done.stdout
    assert manifests(second.client()) == manifests(first.client()) == MODELS
    assert keys(second.client(), DATA) == keys(first.client(), DATA)
    assert deployment.outputs()["modelVersion"] == 2


def test_and_back_into_the_stack_with_all_versions(deployment, second, monkeypatch):
    use(deployment, None)
    assert deployment.up().returncode == 0
    assert manifests(in_stack(deployment, monkeypatch)) == MODELS
    assert manifests(second.client()) == MODELS
    deployment.configure("modelVersion=1")
    assert deployment.up().returncode == 0
    assert deployment.outputs()["modelVersion"] == 1
    assert deployment.pulumi("config", "rm", "dlstack:modelVersion").returncode == 0
    assert deployment.up().returncode == 0


def test_another_prefix_is_refused_while_there_are_models(deployment, monkeypatch):
    """Symptom: an ordinary `up` replaced the buckets, and every model was gone."""
    before = state(deployment)
    deployment.configure("bucketPrefix=other")
    for command in (("preview",), ("up", "--yes", "--skip-preview")):
        done = deployment.pulumi(*command)
        assert done.returncode != 0
        assert "pulumi config set dlstack:bucketPrefix moving" in done.stdout
    assert state(deployment) == before
    deployment.configure("bucketPrefix=moving")
    assert deployment.up().returncode == 0
    assert manifests(in_stack(deployment, monkeypatch)) == MODELS


def test_a_store_without_secret_and_deployment_comes_back_with_all_it_holds(
    deployment, monkeypatch
):
    """Symptom: "does not answer", or full buckets that were in nobody's state."""
    assert deployment.kubectl("delete", "deploy/object-store", "secret/object-store").stdout
    done = deployment.pulumi("up", "--yes", "--skip-preview", "--refresh")
    assert done.returncode == 0
    assert manifests(in_stack(deployment, monkeypatch)) == MODELS


def test_a_refused_destroy_names_all_and_deletes_nothing(deployment, monkeypatch):
    """Symptom: it named one bucket at a time, and versions only when the service was gone."""
    client = in_stack(deployment, monkeypatch)
    for bucket in (DATA, OUTPUT):
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        client.put_object(Bucket=bucket, Key=f"precious-{bucket}", Body=b"x")
        client.delete_object(Bucket=bucket, Key=f"precious-{bucket}")
        client.create_multipart_upload(Bucket=bucket, Key="models/mnist/9/saved_model.pb")
    # A pod of the last roll-out may still be on its way out.
    eventually(
        lambda: not any("deletionTimestamp" in one["metadata"] for one in deployment.items("pods")),
        300,
    )
    before, there = state(deployment), deployment.kubectl("get", "all,cm,pvc", "-o=name").stdout
    done = deployment.destroy()
    assert done.returncode != 0
    assert f"precious-{DATA}" in done.stdout and f"precious-{OUTPUT}" in done.stdout
    assert "Exception calling application" not in done.stdout
    assert state(deployment) == before
    assert deployment.kubectl("get", "all,cm,pvc", "-o=name").stdout == there


def test_force_that_is_set_right_before_destroy_counts(deployment, first, second):
    deployment.configure("forceDestroy=true")
    assert deployment.destroy().returncode == 0
    gone = ("wait", "--for=delete", f"namespace/{deployment.namespace}", "--timeout=5m")
    assert deployment.kubectl(*gone).returncode == 0
    # What the stack has left behind on its way stays.
    assert manifests(first.client()) == manifests(second.client()) == MODELS
