"""A stack on an object store that it does not own: what is refused, and what is left alone.

The store can do the least that a store may, and is reached as in a company: over TLS with an
authority of its own, by a DNS name for each bucket, with keys that expire, through a proxy. Halfway
its pods get credentials by the identity of their service account. Not covered: AWS itself.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from local.__main__ import Platform
from local.machine import proxies
from tests.certificates import issue
from tests.cluster import web_identity
from tests.cluster.conftest import Deployment, configuration_kept, json_at, new_stack
from tests.cluster.web_identity import WebIdentity
from tests.copies import copy_part
from tests.recording_proxy import RecordingProxy
from tests.strict_store import DOMAIN, REGION, SECRET_KEY, Rules, StrictStore
from tests.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

DATA, OUTPUT, DATA_SETS = "team-data", "team-output", "datasets"
ACCOUNT = "team"
ELSEWHERE = {"LocationConstraint": REGION}
"""Than where boto3 makes a bucket by default."""


@pytest.fixture(scope="module")
def deployment(platform: Platform) -> Iterator[Deployment]:
    with new_stack(platform, "cluster-store") as deployment:
        yield deployment


@pytest.fixture(scope="module")
def proxy(deployment: Deployment) -> Iterator[RecordingProxy]:
    """The way to the store, whose names nobody else knows."""
    if deployment.platform.brought_kubeconfig is not None:
        pytest.skip("needs the embedded cluster, whose pods reach this machine")

    def is_ours(host: str) -> bool:
        return host == DOMAIN or host.endswith(f".{DOMAIN}")

    address = str(deployment.platform.cluster.ranges.machine)
    with RecordingProxy(is_ours, address=address, leads=lambda host: "127.0.0.1") as proxy:
        named = {"HTTPS_PROXY": proxy.url}
        ours = proxies.completed(named, deployment.platform.cluster.addresses)
        deployment.variables = {**deployment.variables, **named, **ours}
        # The token service is no such name.
        deployment.configure(f"proxy.httpsProxy={proxy.url}", f"proxy.noProxy={address}")
        yield proxy


@pytest.fixture(scope="module")
def store(
    deployment: Deployment, proxy: RecordingProxy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StrictStore]:
    folder = tmp_path_factory.mktemp("authority")
    root = issue(folder, "authority", None)
    pem = issue(folder, "store", root, DOMAIN, f"*.{DOMAIN}").pem
    least = Rules(
        virtual_hosts_only=True,
        checksums=False,
        conditions="refused",
        deletes_many=False,
        session_token="T" * 200,
    )
    with StrictStore(least, pem, root.pem.certificate.read_text()) as store:
        deployment.configure(
            f"s3Endpoint={store.endpoint}",
            f"s3Region={REGION}",
            "s3AddressingStyle=virtual",
            f"s3CaCertificate={store.authority}",
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


@pytest.fixture
def client(store: StrictStore, proxy: RecordingProxy, tmp_path: Path) -> Any:
    """With the keys that the store takes when a test begins."""
    authority = tmp_path / "ca.pem"
    authority.write_text(store.authority)
    access = store.access()
    return boto3.client(
        "s3",
        endpoint_url=access.endpoint,
        region_name=access.region,
        aws_access_key_id=access.access_key,
        aws_secret_access_key=access.secret_key,
        aws_session_token=access.session_token,
        verify=str(authority),
        config=Config(
            s3={"addressing_style": "virtual", "payload_signing_enabled": True},
            request_checksum_calculation="when_required",
            proxies={"https": proxy.url},
        ),
    )


def set_keys(deployment: Deployment, access_key: str, secret_key: str, session_token: str) -> None:
    for key, value in (
        ("s3AccessKey", access_key),
        ("s3SecretKey", secret_key),
        ("s3SessionToken", session_token),
    ):
        words = ("config", "set", "--secret", f"dlstack:{key}", value)
        assert deployment.pulumi(*words).returncode == 0


def buckets(client) -> set[str]:
    return {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}


def is_there(deployment: Deployment) -> bool:
    """Whether the stack has so much as a namespace."""
    return deployment.kubectl("get", "namespace", deployment.namespace).returncode == 0


def test_a_store_that_is_away_makes_nothing(deployment, store):
    set_keys(deployment, "nobody", "wrong-secret", store.rules.session_token)
    deployment.configure(f"s3Endpoint=https://{DOMAIN}:9")
    for command in (("preview",), ("up", "--yes", "--skip-preview")):
        done = deployment.pulumi(*command)
        assert done.returncode != 0
        assert f"the object store at 'https://{DOMAIN}:9' can't be reached" in done.stdout
        assert "dlstack:s3Endpoint is right" in done.stdout
        assert "Traceback" not in done.stdout
    assert not is_there(deployment)
    deployment.configure(f"s3Endpoint={store.endpoint}")


def test_wrong_credentials_make_nothing(deployment, store, client):
    for command in (("preview",), ("up", "--yes", "--skip-preview")):
        done = deployment.pulumi(*command)
        assert done.returncode != 0
        assert store.endpoint in done.stdout
        assert "dlstack:s3AccessKey" in done.stdout
        assert "wrong-secret" not in done.stdout
        assert "Traceback" not in done.stdout
    assert not {DATA, OUTPUT} & buckets(client)
    assert not is_there(deployment)


def test_a_bucket_that_is_somebody_elses_is_left_alone(deployment, store, client):
    client.create_bucket(Bucket=DATA, CreateBucketConfiguration=ELSEWHERE)
    client.put_object(Bucket=DATA, Key="theirs", Body=b"x")
    access = store.access()
    set_keys(deployment, access.access_key, access.secret_key, access.session_token)
    done = deployment.up()
    assert done.returncode != 0
    assert DATA in done.stdout
    assert client.get_object(Bucket=DATA, Key="theirs")["Body"].read() == b"x"
    client.delete_object(Bucket=DATA, Key="theirs")
    client.delete_bucket(Bucket=DATA)


def test_the_stack_runs_on_it_and_keeps_its_keys_out_of_sight(deployment, store, client):
    done = deployment.up()
    assert done.returncode == 0
    exported = deployment.pulumi("stack", "export").stdout
    for secret in (store.rules.session_token, SECRET_KEY):
        assert secret not in done.stdout
        assert secret not in exported
    assert {DATA, OUTPUT} <= buckets(client)


def test_a_store_that_takes_nothing_is_told_and_nothing_is_ended_for_it(deployment, store):
    before, serves = deployment.names("jobs"), deployment.outputs()["modelVersion"]
    with configuration_kept(deployment):
        deployment.configure("runParameters.epochs=2")
        for code, advice in (
            ("AccessDenied", "Check dlstack:s3AccessKey and dlstack:s3SecretKey, grant their"),
            ("XMinioStorageFull", "is full (XMinioStorageFull). Make room in it ("),
        ):
            store.rules.refuses_writes = code
            try:
                done = deployment.up()
            finally:
                store.rules.refuses_writes = ""
            assert done.returncode != 0
            assert f"Can't write to the bucket '{OUTPUT}'" in done.stdout and code in done.stdout
            assert advice in done.stdout
            assert "Traceback" not in done.stdout
            assert deployment.names("jobs") == before
    assert deployment.outputs()["modelVersion"] == serves


def test_a_changed_file_is_uploaded_and_the_others_are_not(deployment, client, tmp_path):
    before = {o["Key"]: o["LastModified"] for o in _objects(client, "blobs/")}
    assert before
    code = tmp_path / "code"
    copy_part("training/mnist", code)
    (code / "notes.txt").write_text("a new file")
    deployment.configure(f"codeDir={code}")
    assert deployment.up().returncode == 0
    after = {o["Key"]: o["LastModified"] for o in _objects(client, "blobs/")}
    assert after.pop(f"blobs/{hashlib.sha256(b'a new file').hexdigest()}")
    assert after == before


@pytest.fixture(scope="module")
def identity(
    deployment: Deployment, store: StrictStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WebIdentity]:
    """A service account of the namespace whose pods have an identity."""
    kubectl = deployment.platform.cluster.kubectl

    def credentials() -> tuple[str, str, str]:
        access = store.access()
        return access.access_key, access.secret_key, access.session_token

    def reviewed(review: dict[str, Any]) -> dict[str, Any]:
        words = ("create", "--filename=-", "--output=json")
        return json.loads(kubectl(*words, given=json.dumps(review)))

    account = f"system:serviceaccount:{deployment.namespace}:{ACCOUNT}"
    found = WebIdentity(account, credentials, reviewed)
    address = str(deployment.platform.cluster.ranges.machine)
    with web_identity.served(tmp_path_factory.mktemp("webhook"), address, found) as webhook:
        here = {"kubernetes.io/metadata.name": deployment.namespace}
        document = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": deployment.namespace},
            "webhooks": [{**webhook, "namespaceSelector": {"matchLabels": here}}],
        }
        kubectl("create", "serviceaccount", ACCOUNT, f"--namespace={deployment.namespace}")
        kubectl("create", "--filename=-", given=json.dumps(document))
        try:
            yield found
        finally:
            kubectl("delete", "mutatingwebhookconfiguration", deployment.namespace)


def test_pods_with_an_identity_need_no_keys_and_read_a_data_set_that_is_there(
    deployment, store, client, identity
):
    client.create_bucket(Bucket=DATA_SETS, CreateBucketConfiguration=ELSEWHERE)
    for file in deployment.data_dir.iterdir():
        client.put_object(Bucket=DATA_SETS, Key=f"mnist/{file.name}", Body=file.read_bytes())
    for key in ("s3AccessKey", "s3SecretKey", "s3SessionToken"):
        assert deployment.pulumi("config", "rm", f"dlstack:{key}").returncode == 0
    deployment.configure("s3Credentials=environment", f"serviceAccount={ACCOUNT}")
    deployment.configure(f"dataDir=s3://{DATA_SETS}/mnist", "dataMode=stream")
    # The keys that pods had so far are over.
    store.rules.session_token = "U" * 200
    deployment.variables = {**deployment.variables, **store.access().variables}
    assert deployment.up().returncode == 0
    outputs = deployment.outputs()
    assert outputs["modelVersion"] == 3
    assert outputs["metrics"]["accuracy"] > 0.85
    # Of a training, of a model's copy, of the board's mirror.
    assert len(identity.asked) >= 3
    secrets = deployment.kubectl("get", "secrets", "--output=yaml").stdout
    assert "AWS_SECRET_ACCESS_KEY" not in secrets


def test_the_board_shows_the_runs_of_all_credentials(deployment):
    url = f"{deployment.outputs()['tensorboardUrl']}/data/plugin/scalars/tags"

    def shown() -> int:
        # The board's pod is another one now, of which the node may hear late.
        runs = json_at(url) or {}
        # Parts of a run have more after a slash.
        return sum("loss" in tags for run, tags in runs.items() if "/" not in run)

    eventually(lambda: shown() >= 3, 180)


def test_destroy_refuses_to_take_the_models_along(deployment, client):
    done = deployment.destroy()
    assert done.returncode != 0
    assert "forceDestroy" in done.stdout and OUTPUT in done.stdout
    assert _objects(client, "models/", OUTPUT)
    assert deployment.names("deployments")


def test_destroy_takes_them_when_it_is_told_to(deployment, client):
    deployment.configure("forceDestroy=true")
    assert deployment.up().returncode == 0
    assert deployment.destroy().returncode == 0
    assert buckets(client) == {DATA_SETS}


def _objects(client, prefix: str, bucket: str = DATA) -> list[dict]:
    return client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
