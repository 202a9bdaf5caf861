"""A stack on an object store that it does not own: what is refused, and what is left alone.

The store is a SeaweedFS beside the cluster, at the node's address. Not covered: AWS S3 itself.
"""

import json
from collections.abc import Iterator

import pytest

from local.__main__ import Platform
from tests.cluster.conftest import Deployment, new_stack, own_store
from tests.seaweedfs import SeaweedFS

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

DATA, OUTPUT = "team-data", "team-output"


@pytest.fixture(scope="module")
def deployment(platform: Platform) -> Iterator[Deployment]:
    with new_stack(platform, "cluster-store") as deployment:
        yield deployment


@pytest.fixture(scope="module")
def store(deployment: Deployment) -> Iterator[SeaweedFS]:
    with own_store(deployment.platform) as store:
        deployment.configure(
            f"s3Endpoint={store.endpoint}",
            "bucketPrefix=team",
            "flavour=cpu-small",
            "runParameters.model=softmax",
        )
        yield store
        # The stack can't be destroyed once its store is gone.
        state = json.loads(deployment.pulumi("stack", "export").stdout)
        if state["deployment"].get("resources"):
            deployment.configure("forceDestroy=true")
            deployment.up()
            assert deployment.destroy().returncode == 0


def set_keys(deployment, access_key: str, secret_key: str) -> None:
    for key, value in (("s3AccessKey", access_key), ("s3SecretKey", secret_key)):
        assert (
            deployment.pulumi("config", "set", "--secret", f"dlstack:{key}", value).returncode == 0
        )


def buckets(store) -> set[str]:
    return {bucket["Name"] for bucket in store.client().list_buckets()["Buckets"]}


def test_wrong_credentials_make_no_bucket_and_no_job(deployment, store):
    set_keys(deployment, "nobody", "wrong-secret")
    done = deployment.up()
    assert done.returncode != 0
    assert store.endpoint in done.stdout
    assert "wrong-secret" not in done.stdout
    assert "Traceback" not in done.stdout
    assert not {DATA, OUTPUT} & buckets(store)
    assert deployment.names("jobs") == []


def test_a_bucket_that_is_somebody_elses_is_left_alone(deployment, store):
    client = store.client()
    client.create_bucket(Bucket=DATA)
    client.put_object(Bucket=DATA, Key="theirs", Body=b"x")
    set_keys(deployment, store.access_key, store.secret_key)
    done = deployment.up()
    assert done.returncode != 0
    assert DATA in done.stdout
    assert client.get_object(Bucket=DATA, Key="theirs")["Body"].read() == b"x"
    client.delete_object(Bucket=DATA, Key="theirs")
    client.delete_bucket(Bucket=DATA)


def test_the_stack_runs_on_it_and_keeps_its_keys_out_of_sight(deployment, store):
    done = deployment.up()
    assert done.returncode == 0
    assert store.secret_key not in done.stdout
    assert store.secret_key not in deployment.pulumi("stack", "export").stdout
    assert {DATA, OUTPUT} <= buckets(store)


def test_a_changed_file_is_uploaded_and_the_others_are_not(deployment, store, tmp_path):
    before = {o["Key"]: o["LastModified"] for o in _objects(store, "code/")}
    assert before
    code = tmp_path / "code"
    code.mkdir()
    for key in before:
        body = store.client().get_object(Bucket=DATA, Key=key)["Body"].read()
        (code / key.removeprefix("code/")).write_bytes(body)
    (code / "notes.txt").write_text("a new file")
    deployment.configure(f"codeDir={code}")
    assert deployment.up().returncode == 0
    after = {o["Key"]: o["LastModified"] for o in _objects(store, "code/")}
    assert after.pop("code/notes.txt")
    assert after == before


def test_a_data_set_that_is_in_the_store_already_is_read_where_it_is(deployment, store):
    client = store.client()
    client.create_bucket(Bucket="datasets")
    for file in deployment.data_dir.iterdir():
        client.put_object(Bucket="datasets", Key=f"mnist/{file.name}", Body=file.read_bytes())
    deployment.configure("dataDir=s3://datasets/mnist")
    assert deployment.up().returncode == 0
    outputs = deployment.outputs()
    assert outputs["modelVersion"] == 3
    assert outputs["metrics"]["accuracy"] > 0.85
    assert _objects(store, "data/") == []


def test_destroy_refuses_to_take_the_models_along(deployment, store):
    done = deployment.destroy()
    assert done.returncode != 0
    assert "forceDestroy" in done.stdout and OUTPUT in done.stdout
    assert _objects(store, "models/", OUTPUT)
    assert deployment.names("deployments")


def test_destroy_takes_them_when_it_is_told_to(deployment, store):
    deployment.configure("forceDestroy=true")
    assert deployment.up().returncode == 0
    assert deployment.destroy().returncode == 0
    assert not {DATA, OUTPUT} & buckets(store)


def _objects(store, prefix: str, bucket: str = DATA) -> list[dict]:
    return store.client().list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
