"""A bucket copied to another one, in a real store."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from store import buckets, copying
from store.client import Client
from store.copying import copy_bucket
from store.errors import Changed
from store.objects import delete_many, head, list_objects, read, write
from store.transfers import upload_file
from store.urls import S3Url

MARK = ".mark"


@pytest.fixture
def target(client: Client) -> Iterator[S3Url]:
    url = S3Url(f"store-{uuid4().hex[:12]}")
    buckets.create(client, url.bucket)
    yield url
    delete_many(client, url.bucket, [entry.path for entry in list_objects(client, url)])
    buckets.delete(client, url.bucket)


def copied(client: Client, bucket: S3Url, target: S3Url, tell=lambda _: None) -> int:
    return copy_bucket(client, bucket.bucket, client, target.bucket, but=MARK, tell=tell)


def test_all_is_copied_but_the_mark(
    client: Client, bucket: S3Url, target: S3Url, tmp_path: Path
) -> None:
    for key in ("models/mnist/1/manifest.json", "runs/a b+ü%/log.txt", "folder/", MARK):
        write(client, bucket / key, key.encode())
    large = tmp_path / "large"
    large.write_bytes(bytes(65 * 2**20))
    upload_file(client, large, bucket / "large", metadata={"dlstack-sha256": "0f"})
    assert copied(client, bucket, target) == 4
    assert {(entry.path, entry.size) for entry in list_objects(client, target)} == {
        (entry.path, entry.size) for entry in list_objects(client, bucket) if entry.path != MARK
    }
    assert read(client, target / "runs/a b+ü%/log.txt") == "runs/a b+ü%/log.txt".encode()
    assert head(client, target / "large")["Metadata"] == {"dlstack-sha256": "0f"}


def test_what_is_there_already_is_not_copied_again(
    client: Client, bucket: S3Url, target: S3Url
) -> None:
    write(client, bucket / "same", b"1")
    write(client, bucket / "other", b"1")
    write(client, target / "other", b"2")
    write(client, target / "theirs", b"3")
    assert copied(client, bucket, target) == 2
    assert copied(client, bucket, target) == 0
    assert read(client, target / "other") == b"1"
    assert read(client, target / "theirs") == b"3"


def test_what_names_others_comes_after_them(
    client: Client, bucket: S3Url, target: S3Url, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version without manifest does not exist for readers (docs/contracts.md)."""
    keys = ("models/m/1/manifest.json", "models/m/1/saved_model.pb", "runs/1/checkpoint", "z")
    for key in keys:
        write(client, bucket / key, b"x")
    batches: list[set[str]] = []
    monkeypatch.setattr(
        copying,
        "in_parallel",
        lambda action, entries: batches.append({action(entry) or entry.path for entry in entries}),
    )
    copied(client, bucket, target)
    assert batches == [{keys[1], keys[3]}, {keys[0], keys[2]}]


def test_what_is_written_meanwhile_is_told(
    client: Client, bucket: S3Url, target: S3Url, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(client, bucket / "one", b"1")
    monkeypatch.setattr(copying, "_TELL_SECONDS", 0)
    with pytest.raises(Changed, match="/late' was written while the bucket was copied"):
        copied(client, bucket, target, tell=lambda _: write(client, bucket / "late", b"1"))


def test_it_tells_how_far_it_is(
    client: Client, bucket: S3Url, target: S3Url, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(client, bucket / "one", bytes(2_000_000))
    monkeypatch.setattr(copying, "_TELL_SECONDS", 0)
    lines: list[str] = []
    copied(client, bucket, target, lines.append)
    assert lines == ["Copied 1 of 1 objects, 2 of 2 MB."]
