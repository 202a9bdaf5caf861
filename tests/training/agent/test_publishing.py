"""Publishing against a real store: its order, and many publishers at once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.seaweedfs import SeaweedFS
from tests.training.conftest import Bucket
from training.agent.publishing import Provenance, find_published, publish
from training.object_store import ObjectStore, S3Url, StoreError


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(b"graph")
    (tmp_path / "variables" / "variables.index").write_bytes(b"index")
    return tmp_path


def provenance(run_hash: str) -> Provenance:
    return Provenance(run_hash=run_hash, metrics={}, parameters={}, details={}, seconds={})


class RecordingStore(ObjectStore):
    """Notes the keys that were put, in order; fails for one of them."""

    def __init__(self, fail_for: str = "") -> None:
        super().__init__()
        self.order: list[str] = []
        self._fail_for = fail_for

    def create(self, url: S3Url, content: bytes) -> bool:
        self.order.append(url.prefix)
        return super().create(url, content)

    def write(self, url: S3Url, content: bytes) -> None:
        self.order.append(url.prefix)
        super().write(url, content)

    def upload_file(self, file: Path, url: S3Url) -> None:
        if self._fail_for and url.prefix.endswith(self._fail_for):
            raise StoreError("no room")
        super().upload_file(file, url)
        self.order.append(url.prefix)


def test_the_claim_is_put_first_and_the_manifest_last(
    bucket: Bucket, environment: SeaweedFS, model_dir: Path
) -> None:
    store = RecordingStore()
    publish(store, model_dir, S3Url(bucket.name, "models/toy"), provenance("a"))
    assert store.order[0] == "models/toy/1/.claim"
    assert store.order[-1] == "models/toy/1/manifest.json"
    assert sorted(store.order) == bucket.listing()


def test_a_failed_upload_leaves_no_manifest_and_the_number_is_not_used_again(
    bucket: Bucket, environment: SeaweedFS, model_dir: Path
) -> None:
    url = S3Url(bucket.name, "models/toy")
    with pytest.raises(StoreError, match="no room"):
        publish(RecordingStore("variables.index"), model_dir, url, provenance("a"))
    assert "models/toy/1/manifest.json" not in bucket.listing()
    assert find_published(ObjectStore(), url, "a") is None
    assert publish(ObjectStore(), model_dir, url, provenance("a"))[0] == 2
    found = find_published(ObjectStore(), url, "a")
    assert found is not None and found["version"] == 2


def test_many_publishers_at_once_get_a_version_each(
    bucket: Bucket, environment: SeaweedFS, model_dir: Path
) -> None:
    url = S3Url(bucket.name, "models/toy")
    store = ObjectStore()
    with ThreadPoolExecutor(6) as pool:
        versions = pool.map(
            lambda n: publish(store, model_dir, url, provenance(str(n)))[0], range(6)
        )
        assert sorted(versions) == [1, 2, 3, 4, 5, 6]


def test_the_store_keeps_a_sha256_of_every_published_file(
    bucket: Bucket, environment: SeaweedFS, model_dir: Path
) -> None:
    publish(ObjectStore(), model_dir, S3Url(bucket.name, "models/toy"), provenance("a"))
    answer = bucket.client.head_object(
        Bucket=bucket.name, Key="models/toy/1/saved_model.pb", ChecksumMode="ENABLED"
    )
    assert answer["ChecksumSHA256"]
