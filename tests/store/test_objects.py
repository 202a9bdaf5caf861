"""Objects of a real store: lists, conditions and checksums. Refusals are in test_refusals.py."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from store import buckets
from store.client import Client, connect
from store.creation import create
from store.errors import BucketTaken, StoreError
from store.objects import (
    StoredObject,
    changed_at,
    delete,
    delete_many,
    list_files,
    list_folders,
    list_objects,
    read,
    read_chunks,
    write,
)
from store.parallel import in_parallel
from store.urls import S3Url
from tests.seaweedfs import SeaweedFS


def paths(client: Client, url: S3Url) -> list[str]:
    return [entry.path for entry in list_objects(client, url)]


def test_below_a_url_lies_what_is_in_that_folder(client: Client, bucket: S3Url) -> None:
    for key in ("data/a", "data/b/c", "data-2/d", "e"):
        write(client, bucket / key, key.encode())
    assert paths(client, bucket / "data") == ["a", "b/c"]
    assert sorted(paths(client, bucket)) == ["data-2/d", "data/a", "data/b/c", "e"]
    assert paths(client, bucket / "none") == []
    assert list_folders(client, bucket) == ["data", "data-2"]
    assert list_folders(client, bucket / "data") == ["b"]
    [first, _] = list_files(client, bucket / "data")
    assert isinstance(first, StoredObject) and first.size == len("data/a")


def test_an_object_in_the_place_of_a_folder_is_listed_and_is_not_a_file(
    client: Client, bucket: S3Url
) -> None:
    client.s3.put_object(Bucket=bucket.bucket, Key="data/", Body=b"")
    write(client, bucket / "data/a", b"a")
    assert paths(client, bucket) == ["data/", "data/a"]
    assert [entry.path for entry in list_files(client, bucket)] == ["data/a"]
    assert [entry.path for entry in list_files(client, bucket / "data")] == ["a"]


def test_of_several_creators_one_wins(client: Client, bucket: S3Url) -> None:
    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(lambda n: create(client, bucket / "claim", b"%d" % n), range(8)))
    assert sum(won) == 1
    assert read(client, bucket / "claim") == b"%d" % won.index(True)
    write(client, bucket / "claim", b"over it")
    assert read(client, bucket / "claim") == b"over it"


def test_the_store_keeps_a_checksum_of_what_is_written(client: Client, bucket: S3Url) -> None:
    write(client, bucket / "written", b"x")
    create(client, bucket / "created", b"x")
    for key in ("written", "created"):
        answer = client.s3.head_object(Bucket=bucket.bucket, Key=key, ChecksumMode="ENABLED")
        assert answer["ChecksumSHA256"]


def test_a_long_object_comes_in_pieces(client: Client, bucket: S3Url) -> None:
    content = bytes(range(256)) * 10_000
    write(client, bucket / "long", content)
    pieces = list(read_chunks(client, bucket / "long"))
    assert b"".join(pieces) == content
    assert len(pieces) == 3


def test_the_time_of_the_last_change(client: Client, bucket: S3Url) -> None:
    write(client, bucket / "log", b"x")
    moment = changed_at(client, bucket / "log")
    assert moment is not None and abs(datetime.now(UTC) - moment) < timedelta(seconds=60)


def test_what_is_gone_already_is_deleted(client: Client, bucket: S3Url) -> None:
    write(client, bucket / "a", b"a")
    delete(client, bucket / "a")
    delete(client, bucket / "a")
    delete_many(client, bucket.bucket, ["a", "b"])
    assert paths(client, bucket) == []


def test_more_are_deleted_than_one_request_takes(client: Client, bucket: S3Url) -> None:
    keys = [f"{number:04}" for number in range(1001)]
    in_parallel(lambda key: write(client, bucket / key, b""), keys)
    delete_many(client, bucket.bucket, keys)
    assert paths(client, bucket) == []


def test_what_can_not_be_deleted_is_told(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"Errors": [{"Key": "held", "Code": "AccessDenied", "Message": "Locked"}]}
    monkeypatch.setattr(client.s3, "delete_objects", lambda **_: answer)
    with pytest.raises(StoreError, match="1 objects of the bucket 'b' can't .* 'held': Locked"):
        delete_many(client, "b", ["held"])


def test_a_bucket_is_made_once_and_deleted_when_it_is_there(
    client: Client, bucket: S3Url, object_store: SeaweedFS
) -> None:
    name = f"{bucket.bucket}-2"
    program = connect(object_store.access(region="eu-west-1"), direct=True)
    buckets.wait_until_it_answers(program, 1)
    buckets.create(program, name)
    assert paths(program, S3Url(name)) == []
    assert buckets.created_at(program, name) is not None
    assert buckets.created_at(program, f"{name}-3") is None
    buckets.delete(program, name)
    buckets.delete(program, name)
    assert buckets.created_at(program, name) is None


def test_a_bucket_is_not_made_twice(client: Client, bucket: S3Url) -> None:
    with pytest.raises(BucketTaken, match="there is a bucket of that name already"):
        buckets.create(client, bucket.bucket)
