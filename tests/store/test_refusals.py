"""What a real store refuses, and one that is not there, as the errors that a user reads."""

from pathlib import Path

import pytest

from store import buckets, folders
from store.client import Client, connect, from_environment
from store.creation import create
from store.errors import (
    BadSettings,
    Changed,
    Forbidden,
    NoBucket,
    NoCredentials,
    NoObject,
    Unreachable,
    WrongCredentials,
)
from store.fetching import fetch_file
from store.objects import changed_at, list_files, read, read_chunks, write
from store.transfers import upload_file
from store.urls import S3Url
from tests.seaweedfs import SeaweedFS


@pytest.mark.parametrize("wrong", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_a_wrong_key(
    environment: SeaweedFS, bucket: S3Url, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setenv(wrong, "hunter2")
    client = from_environment()
    with pytest.raises(WrongCredentials, match="AWS_SECRET_ACCESS_KEY and AWS_REGION") as raised:
        list(list_files(client, bucket))
    assert f"at '{environment.endpoint}' refused the credentials (" in str(raised.value)
    assert "hunter2" not in str(raised.value)
    with pytest.raises(WrongCredentials):
        write(client, bucket / "key", b"x")
    client.close()


def test_a_wrong_key_of_the_program(object_store: SeaweedFS) -> None:
    client = connect(object_store.access(access_key="WRONG", secret_key="hunter2"), direct=False)
    with pytest.raises(WrongCredentials, match="Check dlstack:s3AccessKey") as raised:
        list(list_files(client, S3Url("any")))
    assert "hunter2" not in str(raised.value)


def test_what_the_credentials_may_not_do(
    environment: SeaweedFS, bucket: S3Url, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", environment.reader_key)
    reader = from_environment()
    assert list(list_files(reader, bucket)) == []
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(Forbidden, match=r"write to the bucket '.*and what they may do"):
        write(reader, bucket / "key", b"x")
    with pytest.raises(Forbidden, match="write to the bucket"):
        create(reader, bucket / "key", b"x")
    with pytest.raises(Forbidden, match="write to the bucket"):
        upload_file(reader, tmp_path / "file", bucket / "key")
    with pytest.raises(Forbidden):
        buckets.create(reader, f"{bucket.bucket}-2")
    reader.close()


def test_no_credentials_at_all(
    environment: SeaweedFS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(NoCredentials, match="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        read(from_environment(), S3Url("b", "k"))


def test_a_bucket_that_is_not_there(client: Client) -> None:
    url = S3Url("no-such-bucket", "key")
    for attempt in (
        lambda: list(list_files(client, url)),
        lambda: read(client, url),
        lambda: next(read_chunks(client, url)),
    ):
        with pytest.raises(NoBucket, match="'s3://no-such-bucket/key': .*has no such bucket"):
            attempt()


def test_an_object_that_is_not_there(client: Client, bucket: S3Url, tmp_path: Path) -> None:
    url = bucket / "none"
    for attempt in (
        lambda: read(client, url),
        lambda: next(read_chunks(client, url)),
        lambda: fetch_file(client, url, tmp_path / "none", 1),
    ):
        with pytest.raises(NoObject, match=f"'{url}': .*has no such object"):
            attempt()
    assert changed_at(client, url) is None
    assert list(tmp_path.iterdir()) == []


def test_an_object_that_has_changed_since_it_was_listed(client: Client, bucket: S3Url) -> None:
    url = bucket / "log"
    write(client, url, b"first")
    [listed] = list_files(client, bucket)
    assert read(client, url, etag=listed.etag, first_byte=3) == b"st"
    with pytest.raises(Changed, match="InvalidRange"):
        read(client, url, first_byte=5)
    write(client, url, b"other")
    with pytest.raises(Changed, match=f"read '{url}': .* changed meanwhile .PreconditionFailed"):
        read(client, url, etag=listed.etag)


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "https://127.0.0.1:9"])
def test_a_store_that_is_away(
    environment: SeaweedFS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, endpoint: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    monkeypatch.setattr("store.client._ATTEMPTS", 1)
    (tmp_path / "file").write_bytes(b"x")
    client, url = from_environment(), S3Url("b", "k")
    for attempt in (
        lambda: folders.fetch(client, url, tmp_path),
        lambda: write(client, url, b"x"),
        lambda: upload_file(client, tmp_path / "file", url),
        lambda: fetch_file(client, url, tmp_path / "copy", 1),
        lambda: buckets.wait_until_it_answers(client, 0.3),
    ):
        with pytest.raises(
            Unreachable, match=f"at '{endpoint}' can't be reached .*Check AWS_ENDPOINT_URL_S3"
        ):
            attempt()
    client.close()


@pytest.mark.parametrize("key", ["", "x" * 2000], ids=["none", "long"])
def test_a_name_that_no_store_takes(client: Client, key: str) -> None:
    with pytest.raises(BadSettings, match="Invalid bucket name"):
        read(client, S3Url("no bucket", key))
