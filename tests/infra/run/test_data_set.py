"""A data set in a bucket: what counts as another one. Local folders: test_checksums.py."""

import uuid
from collections.abc import Callable
from typing import Any

import pulumi
import pytest

from infra.run import data_set
from infra.settings import configuration
from tests.infra.conftest import Configure
from tests.seaweedfs import SeaweedFS


@pytest.fixture
def client(object_store: SeaweedFS) -> Any:
    return object_store.client()


@pytest.fixture
def bucket(client: Any) -> str:
    name = f"test-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def data_of(object_store: SeaweedFS, configure: Configure) -> Callable[[str], Any]:
    def read(data_dir: str) -> dict[str, str]:
        configure(
            s3Endpoint=object_store.endpoint,
            s3AccessKey=object_store.access_key,
            s3SecretKey=object_store.secret_key,
            dataDir=data_dir,
        )
        loaded = configuration.load()
        assert loaded.store is not None
        return data_set.in_store(loaded.data_dir, loaded.store)

    return read


def test_a_data_set_counts_by_key_size_and_etag(
    data_of: Callable[[str], Any], bucket: str, client: Any
) -> None:
    client.put_object(Bucket=bucket, Key="mnist/images.gz", Body=b"one")
    client.put_object(Bucket=bucket, Key="mnist-2/images.gz", Body=b"other")
    before = data_of(f"s3://{bucket}/mnist")
    assert list(before) == ["mnist/images.gz"]
    etag = client.head_object(Bucket=bucket, Key="mnist/images.gz")["ETag"].strip('"')
    assert before["mnist/images.gz"] == f"3-{etag}"
    assert data_of(f"s3://{bucket}/mnist/") == before
    client.put_object(Bucket=bucket, Key="mnist/images.gz", Body=b"two")
    assert data_of(f"s3://{bucket}/mnist") != before


def test_a_missing_one_is_told(data_of: Callable[[str], Any], bucket: str) -> None:
    with pytest.raises(pulumi.RunError, match=f"dataDir 's3://{bucket}/none' has no files"):
        data_of(f"s3://{bucket}/none")
    with pytest.raises(
        pulumi.RunError, match="dataDir 's3://no-such-bucket/x': .*not there. Create"
    ):
        data_of("s3://no-such-bucket/x")


def test_a_folder_of_a_data_set_may_have_spaces(
    data_of: Callable[[str], Any], bucket: str, client: Any
) -> None:
    """Symptom: "is not the URL of a data set"."""
    client.put_object(Bucket=bucket, Key="team a/mnist/ü 1.png", Body=b"one")
    client.put_object(Bucket=bucket, Key="team a/mnist/", Body=b"")
    assert "team a/mnist/ü 1.png" in data_of(f"s3://{bucket}/team a/mnist")


def test_a_key_that_can_not_be_a_file_is_refused_by_name(
    data_of: Callable[[str], Any], bucket: str, client: Any
) -> None:
    """Symptom: it was told by the pod, after the data set was fetched in part."""
    client.put_object(Bucket=bucket, Key="set/images", Body=b"one")
    client.put_object(Bucket=bucket, Key="set/images/1.png", Body=b"one")
    with pytest.raises(pulumi.RunError, match=r"can't be files .*'images' \(it is a folder, too\)"):
        data_of(f"s3://{bucket}/set")
