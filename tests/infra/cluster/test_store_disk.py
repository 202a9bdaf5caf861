"""How full the disk of a stack's own store is: asked of a SeaweedFS, as in a pod."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from infra.cluster import store_disk
from infra.cluster.store_disk import MASTER_PORT, VOLUME_SERVER_PORT, Disk
from tests.infra.cluster.forwarding_api import NAMESPACE, ForwardingApi
from tests.infra.conftest import ANY_CLUSTER
from tests.seaweedfs import SeaweedFS
from tests.waiting import eventually


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ForwardingApi]:
    with ForwardingApi(tmp_path) as api:
        monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig))
        # After its own 5 s it is told as one that nobody can ask.
        monkeypatch.setattr(store_disk, "_TIMEOUT_SECONDS", 60)
        yield api


def served(api: ForwardingApi, store: SeaweedFS) -> None:
    """Make the store the stack's pod."""
    api.pods["store-1"] = int(store.endpoint.rpartition(":")[2])
    api.others = {VOLUME_SERVER_PORT: store.volume_port, MASTER_PORT: store.master_port}


def test_the_stores_pod_says_it(api: ForwardingApi, object_store: SeaweedFS) -> None:
    served(api, object_store)
    found = store_disk.look(ANY_CLUSTER, NAMESPACE)
    assert found is not None
    assert found.size > found.free >= 0
    # It has room for thousands of volumes.
    assert not found.is_given_out


def test_each_bucket_takes_a_volume_of_a_small_disk() -> None:
    """Symptom: the first bucket took seven, and the third got none of a disk of 2 GB."""
    with SeaweedFS(most_volumes=5) as store, closing(store.client()) as client:
        for bucket in ("one", "two", "three"):
            client.create_bucket(Bucket=bucket)
            client.put_object(Bucket=bucket, Key="key", Body=b"content")
        assert client.get_object(Bucket="three", Key="key")["Body"].read() == b"content"


def test_a_bucket_may_be_full_where_the_disk_is_not(api: ForwardingApi) -> None:
    """Symptom: InternalError, and nine tenths of the disk were free."""
    with SeaweedFS(most_volumes=2) as store:
        served(api, store)
        client = store.client()

        def takes_one(bucket: str) -> bool:
            # The volume of the bucket that the start has tried is free a moment later.
            try:
                client.put_object(Bucket=bucket, Key="key", Body=b"content")
            except ClientError:
                return False
            return True

        for bucket in ("one", "two"):
            client.create_bucket(Bucket=bucket)
            eventually(lambda bucket=bucket: takes_one(bucket))

        def found() -> Disk | None:
            return store_disk.look(ANY_CLUSTER, NAMESPACE)

        eventually(lambda: (disk := found()) is not None and disk.is_given_out)
        client.close()


def test_where_nobody_can_tell_nothing_is_said(api: ForwardingApi) -> None:
    """No pod is Ready, or the user may only look."""
    assert store_disk.look(ANY_CLUSTER, NAMESPACE) is None
    api.pods["store-1"], api.others = 9, {VOLUME_SERVER_PORT: 9}
    assert store_disk.look(ANY_CLUSTER, NAMESPACE) is None
    api.forbids = True
    assert store_disk.look(ANY_CLUSTER, NAMESPACE) is None


@pytest.mark.parametrize(
    ("size", "free", "full"),
    [
        (10e9, 5e9, False),
        (10e9, 0.9e9, True),
        (10e9, 0, True),
        # 5 % of much is enough for long, and 1 % is not.
        (10e12, 0.5e12, False),
        (10e12, 0.1e12, True),
    ],
)
def test_little_room_is_told(size: float, free: float, full: bool) -> None:
    assert Disk(int(size), int(free)).is_nearly_full is full
    assert Disk(int(size), int(free), is_given_out=True).is_nearly_full


def test_the_advice_names_the_key() -> None:
    text = store_disk.advice(Disk(10_500_000_000, 90_000_000))
    assert "90.0 MB of 10.5 GB are free. 'pulumi config set dlstack:storageSize SIZE'" in text
    text = store_disk.advice(Disk(10, 9, is_given_out=True))
    assert "are free, and given out to its buckets. 'pulumi config" in text
