"""What a bucket holds besides the objects that a list shows, in a real store."""

import pytest

from store import buckets, contents
from store.client import Client
from store.contents import Version
from store.errors import NoBucket, StoreError
from store.objects import delete, write
from store.urls import S3Url


def keep_versions(client: Client, bucket: S3Url) -> None:
    client.s3.put_bucket_versioning(
        Bucket=bucket.bucket, VersioningConfiguration={"Status": "Enabled"}
    )


def test_a_bucket_without_versions(client: Client, bucket: S3Url) -> None:
    write(client, bucket / "one", b"1")
    found = contents.look(client, bucket.bucket)
    assert (found.is_versioned, found.uploads) == (False, ())
    assert found.versions == (Version("one", None, False),)


def test_versions_delete_markers_and_unfinished_uploads_are_seen_and_deleted(
    client: Client, bucket: S3Url
) -> None:
    """Symptom: with versions in it, `destroy` failed at the bucket for ever."""
    write(client, bucket / "before", b"0")
    keep_versions(client, bucket)
    write(client, bucket / "one", b"1")
    write(client, bucket / "one", b"2")
    write(client, bucket / "gone", b"3")
    delete(client, bucket / "gone")
    client.s3.create_multipart_upload(Bucket=bucket.bucket, Key="big")
    found = contents.look(client, bucket.bucket)
    assert found.is_versioned
    assert sorted((one.key, one.is_delete_marker) for one in found.versions) == [
        ("before", False),
        ("gone", False),
        ("gone", True),
        ("one", False),
        ("one", False),
    ]
    assert [upload.key for upload in found.uploads] == ["big"]
    with pytest.raises(StoreError, match="BucketNotEmpty"):
        buckets.delete(client, bucket.bucket)
    contents.delete(client, bucket.bucket, found, last="before")
    contents.delete(client, bucket.bucket, found, last="before")
    empty = contents.look(client, bucket.bucket)
    assert (empty.versions, empty.uploads) == ((), ())
    buckets.delete(client, bucket.bucket)
    with pytest.raises(NoBucket):
        contents.look(client, bucket.bucket)


def test_one_object_is_deleted_last(
    client: Client, bucket: S3Url, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("a", "mark", "z"):
        write(client, bucket / key, b"")
    deleted: list[str] = []
    monkeypatch.setattr(
        contents, "delete_entries", lambda *args: deleted.extend(key for key, _ in args[2])
    )
    contents.delete(client, bucket.bucket, contents.look(client, bucket.bucket), last="mark")
    assert deleted == ["a", "z", "mark"]
