"""Files and folders to and from a real store, and what many threads do on an error or a signal."""

import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from store import marks
from store.client import Client
from store.errors import NoObject, StoreError
from store.objects import StoredObject, list_files, read, write
from store.parallel import in_parallel
from store.transfers import fetch_file, fetch_files, fetch_folder, upload_file
from store.urls import S3Url

LARGE = 65 * 2**20
NOW = datetime.now(UTC)


def test_a_folder_arrives_as_it_is(client: Client, bucket: S3Url, tmp_path: Path) -> None:
    contents = {"a.py": b"a", "sub/b.bin": os.urandom(100_000), "sub/empty": b""}
    for path, content in contents.items():
        write(client, bucket / "code" / path, content)
    write(client, bucket / "code-2/other", b"other")
    client.s3.put_object(Bucket=bucket.bucket, Key="code/sub/", Body=b"")
    found = fetch_folder(client, bucket / "code", tmp_path)
    assert {entry.path: entry.size for entry in found} == {
        path: len(content) for path, content in contents.items()
    }
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "a.py",
        "b.bin",
        "empty",
    ]
    for path, content in contents.items():
        assert (tmp_path / path).read_bytes() == content


def test_a_large_file_goes_and_comes_in_parts(
    client: Client, bucket: S3Url, tmp_path: Path
) -> None:
    content = os.urandom(2**20) * 65
    assert len(content) == LARGE
    (tmp_path / "large").write_bytes(content)
    upload_file(client, tmp_path / "large", bucket / "large")
    [entry] = list_files(client, bucket)
    fetch_file(client, bucket / "large", tmp_path / "copy", entry.size)
    assert (tmp_path / "copy").read_bytes() == content


def test_a_file_that_is_not_there_is_an_error_of_files(
    client: Client, bucket: S3Url, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        upload_file(client, tmp_path / "none", bucket / "key")
    write(client, bucket / "key", b"x")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError):
        fetch_file(client, bucket / "key", tmp_path / "file" / "below", 1)


@pytest.mark.parametrize("path", ["../escaped", "/etc/passwd", "a/../../b"])
def test_a_key_that_leads_out_of_the_folder_is_refused(
    client: Client, tmp_path: Path, path: str
) -> None:
    with pytest.raises(StoreError, match="has the unsafe key"):
        fetch_files(client, S3Url("b"), [StoredObject(path, 1, "", NOW)], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_object_deleted_since_the_listing_fails_the_fetch(
    client: Client, bucket: S3Url, tmp_path: Path
) -> None:
    write(client, bucket / "there", b"x")
    with pytest.raises(NoObject, match="gone"):
        fetch_files(
            client,
            bucket,
            [StoredObject("there", 1, "", NOW), StoredObject("gone", 1, "", NOW)],
            tmp_path,
        )


def test_marked_files_are_uploaded_when_they_have_changed(
    client: Client, bucket: S3Url, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"first")
    marks.upload(client, bucket.bucket, [(tmp_path / "file", "key", "sum-1")])
    # Another content under the same sum: that it is not uploaded shows that nothing is.
    (tmp_path / "file").write_bytes(b"other")
    marks.upload(client, bucket.bucket, [(tmp_path / "file", "key", "sum-1")])
    assert read(client, bucket / "key") == b"first"
    marks.upload(client, bucket.bucket, [(tmp_path / "file", "key", "sum-2")])
    assert read(client, bucket / "key") == b"other"
    write(client, bucket / "foreign", b"")
    found = marks.marks(client, bucket.bucket, ["key", "foreign", "none"])
    assert found == {"key": "sum-2"}


def test_a_marked_file_that_can_not_be_read_is_named(
    client: Client, bucket: S3Url, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match="upload '.*none' to .*No such file .* Check the file"):
        marks.upload(client, bucket.bucket, [(tmp_path / "none", "key", "sum")])


def test_results_come_in_the_order_of_the_items() -> None:
    def slow_for_the_first(number: int) -> int:
        time.sleep(0.05 if number == 0 else 0)
        return number

    assert in_parallel(slow_for_the_first, range(40)) == list(range(40))
    assert in_parallel(slow_for_the_first, []) == []


def test_after_an_error_nothing_begins_and_what_has_begun_is_waited_for() -> None:
    begun, ended = [], []

    def action(number: int) -> None:
        begun.append(number)
        if number == 0:
            raise StoreError("refused")
        time.sleep(0.2)
        ended.append(number)

    with pytest.raises(StoreError, match="refused"):
        in_parallel(action, range(1000))
    assert len(begun) < 100
    assert sorted(ended) == sorted(begun)[1:]


def test_a_signal_is_not_held_up_by_what_has_begun() -> None:
    class Terminated(BaseException):
        """What a handler of SIGTERM raises."""

    hold = threading.Event()

    def action(number: int) -> None:
        if number == 0:
            raise Terminated
        hold.wait(30)

    began = time.monotonic()
    try:
        with pytest.raises(Terminated):
            in_parallel(action, range(4))
        assert time.monotonic() - began < 10
    finally:
        hold.set()
