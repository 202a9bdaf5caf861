"""Publishing against a real store: its order, and many publishers at once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from store.client import from_environment
from store.errors import StoreError
from store.urls import S3Url
from tests.seaweedfs import SeaweedFS
from tests.training.conftest import Bucket, recorded_puts
from training.agent.publishing import Provenance, find_published, publish


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(b"graph")
    (tmp_path / "variables" / "variables.index").write_bytes(b"index")
    return tmp_path


def provenance(run_hash: str) -> Provenance:
    return Provenance(run_hash=run_hash, metrics={}, parameters={}, details={}, seconds={})


def test_the_claim_is_put_first_and_the_manifest_last(
    bucket: Bucket, environment: SeaweedFS, model_dir: Path
) -> None:
    client = from_environment()
    order = recorded_puts(client)
    publish(client, model_dir, S3Url(bucket.name, "models/toy"), provenance("a"))
    assert order[0] == "models/toy/1/.claim"
    assert order[-1] == "models/toy/1/manifest.json"
    assert sorted(order) == bucket.listing()


def test_a_failed_upload_leaves_no_manifest_and_the_number_is_not_used_again(
    bucket: Bucket, environment: SeaweedFS, model_dir: Path
) -> None:
    url = S3Url(bucket.name, "models/toy")
    client = from_environment()
    recorded_puts(client, fail_for="variables.index")
    with pytest.raises(StoreError, match="no room"):
        publish(client, model_dir, url, provenance("a"))
    assert "models/toy/1/manifest.json" not in bucket.listing()
    assert find_published(from_environment(), url, "a") is None
    assert publish(from_environment(), model_dir, url, provenance("a"))[0] == 2
    found = find_published(from_environment(), url, "a")
    assert found is not None and found["version"] == 2


def test_many_publishers_at_once_get_a_version_each(
    bucket: Bucket, environment: SeaweedFS, model_dir: Path
) -> None:
    url = S3Url(bucket.name, "models/toy")
    client = from_environment()
    with ThreadPoolExecutor(6) as pool:
        versions = pool.map(
            lambda n: publish(client, model_dir, url, provenance(str(n)))[0], range(6)
        )
        assert sorted(versions) == [1, 2, 3, 4, 5, 6]


def test_the_store_keeps_a_sha256_of_every_published_file(
    bucket: Bucket, environment: SeaweedFS, model_dir: Path
) -> None:
    publish(from_environment(), model_dir, S3Url(bucket.name, "models/toy"), provenance("a"))
    answer = bucket.client.head_object(
        Bucket=bucket.name, Key="models/toy/1/saved_model.pb", ChecksumMode="ENABLED"
    )
    assert answer["ChecksumSHA256"]
