"""Files and folders to and from a real store, and what many threads do on an error or a signal."""

import hashlib
import io
import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from store import folders, marks, parallel, transfers
from store.client import Client
from store.errors import NoObject, OtherContent, StoreError
from store.fetching import fetch_file
from store.objects import (
    StoredObject,
    delete_many,
    head,
    list_files,
    list_objects,
    list_prefix,
    read,
    write,
)
from store.parallel import in_parallel
from store.sending import PART_BYTES, part_bytes, send
from store.transfers import (
    copy_within,
    fetch_files,
    upload_file,
    upload_hashed,
)
from store.urls import S3Url
from tests.waiting import eventually

LARGE = 65 * 2**20
NOW = datetime.now(UTC)


def test_a_folder_arrives_as_it_is(client: Client, bucket: S3Url, tmp_path: Path) -> None:
    contents = {"a.py": b"a", "sub/b.bin": os.urandom(100_000), "sub/empty": b""}
    for path, content in contents.items():
        write(client, bucket / "code" / path, content)
    write(client, bucket / "code-2/other", b"other")
    client.s3.put_object(Bucket=bucket.bucket, Key="code/sub/", Body=b"")
    found = folders.fetch(client, bucket / "code", tmp_path)
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


def test_files_of_any_names_arrive_beside_each_other(
    client: Client, bucket: S3Url, tmp_path: Path
) -> None:
    """Symptom: of `a` and `a.fetching` one was lost, and a name of 250 bytes was too long."""
    names = ["a", "a.fetching", "x" * 255]
    for name in names:
        write(client, bucket / name, name.encode())
    for name in reversed(names):
        fetch_file(client, bucket / name, tmp_path / name, len(name))
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        name: name for name in names
    }


def test_a_large_object_is_copied_in_parts(
    client: Client, bucket: S3Url, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Symptom: a store that took longer than 12 s for 5 GB counted as one that does not answer."""
    monkeypatch.setattr(transfers, "_COPIED_AT_ONCE_BYTES", 8 * 2**20)
    asked: list[str] = []

    def note(model: Any, **_: Any) -> None:
        asked.append(model.name)

    client.s3.meta.events.register("before-call.s3", note)
    content = os.urandom(2**20) * 20
    for size in (2**20, len(content)):
        write(client, bucket / "from", content[:size])
        [entry] = list_prefix(client, bucket.bucket, "from")
        copy_within(client, bucket / "from", bucket / "to", entry.size, entry.etag)
        assert read(client, bucket / "to") == content[:size]
    assert (asked.count("CopyObject"), asked.count("UploadPartCopy")) == (1, 3)
    client.s3.meta.events.unregister("before-call.s3", note)


class _Aborted(io.BytesIO):
    """Ends its own upload with the first part that is read, and yields the second one after that
    part has failed."""

    def __init__(self, client: Client, bucket: str, size: int) -> None:
        super().__init__(bytes(size))
        self._s3, self._bucket = client.s3, bucket

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            eventually(lambda: parallel._free == parallel.MEMORY_BYTES - PART_BYTES)
        else:
            for one in self._s3.list_multipart_uploads(Bucket=self._bucket)["Uploads"]:
                self._s3.abort_multipart_upload(
                    Bucket=self._bucket, Key=one["Key"], UploadId=one["UploadId"]
                )
        return super().read(size)


def test_an_upload_that_fails_gives_all_of_its_memory_back(client: Client, bucket: S3Url) -> None:
    size = 3 * PART_BYTES
    with pytest.raises(StoreError):
        send(client, _Aborted(client, bucket.bucket, size), bucket / "large", size)
    assert parallel._free == parallel.MEMORY_BYTES


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
    with pytest.raises(StoreError, match="can.t be files of a folder"):
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


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_marked_files_are_uploaded_when_they_have_changed(
    client: Client, bucket: S3Url, tmp_path: Path
) -> None:
    first, other = sha256(b"first"), sha256(b"other")
    (tmp_path / "file").write_bytes(b"first")
    marks.upload(client, bucket.bucket, [(tmp_path / "file", "key", first)], {"key"})
    # Another content under the same sum: it would be refused, if it were sent at all.
    (tmp_path / "file").write_bytes(b"other")
    marks.upload(client, bucket.bucket, [(tmp_path / "file", "key", first)], {"key"})
    assert read(client, bucket / "key") == b"first"
    marks.upload(client, bucket.bucket, [(tmp_path / "file", "key", other)], {"key"})
    assert read(client, bucket / "key") == b"other"
    write(client, bucket / "foreign", b"")
    found = marks.marks(client, bucket.bucket, ["key", "foreign", "none"])
    assert found == {"key": other}


SMALL, IN_PARTS = b"small", os.urandom(2**20) * 17
both_sizes = pytest.mark.parametrize("content", [SMALL, IN_PARTS], ids=["small", "in parts"])


@both_sizes
def test_what_is_hashed_while_it_is_sent_arrives(
    client: Client, bucket: S3Url, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "file").write_bytes(content)
    with (tmp_path / "file").open("rb") as file:
        upload_hashed(client, file, bucket / "key", sha256(content), metadata={"a": "b"})
        assert file.tell() == len(content)
    assert read(client, bucket / "key") == content
    assert head(client, bucket / "key")["Metadata"] == {"a": "b"}


@both_sizes
@pytest.mark.parametrize("change", ["edited", "longer", "shorter", "emptied"])
def test_what_has_changed_since_it_was_hashed_is_not_put_in_the_store(
    client: Client, bucket: S3Url, tmp_path: Path, content: bytes, change: str
) -> None:
    """Symptom: the new content lay there under the old sum, and no later upload put it right."""
    now = {
        "edited": bytes([content[0] ^ 1]) + content[1:],
        "longer": content + b"!",
        "shorter": content[:-1],
        "emptied": b"",
    }[change]
    file = tmp_path / "file"
    file.write_bytes(now)
    with pytest.raises(OtherContent, match="file' was changed .* Run the command again"):
        marks.upload(client, bucket.bucket, [(file, "key", sha256(content))], set())
    assert list(list_objects(client, bucket)) == []
    unfinished = client.s3.list_multipart_uploads(Bucket=bucket.bucket)
    assert unfinished.get("Uploads", []) == []


def test_a_file_that_grows_while_it_is_sent_is_given_up(
    client: Client, bucket: S3Url, tmp_path: Path
) -> None:
    """Nobody waits for the end of a log that is written faster than it is sent."""

    class Growing(io.FileIO):
        def readinto(self, buffer: Any) -> int:
            with open(self.name, "ab") as end:
                end.write(IN_PARTS)
            return super().readinto(buffer)

    (tmp_path / "log").write_bytes(IN_PARTS)
    with (
        io.BufferedReader(Growing(str(tmp_path / "log"))) as file,
        pytest.raises(OtherContent, match="has changed"),
    ):
        upload_hashed(client, file, bucket / "key", sha256(IN_PARTS))
    assert list(list_objects(client, bucket)) == []


def test_a_file_that_can_not_be_read_to_its_end_is_not_put_in_the_store(
    client: Client, bucket: S3Url, tmp_path: Path
) -> None:
    class Failing(io.FileIO):
        def readinto(self, buffer: Any) -> int:
            if self.tell() > 2**24:
                raise OSError(5, "Input/output error")
            return super().readinto(buffer)

    (tmp_path / "file").write_bytes(IN_PARTS)
    with pytest.raises(StoreError, match="upload '.*file' to .* Input/output error. Check the"):
        marks.upload(
            client,
            bucket.bucket,
            [(tmp_path / "file", "key", sha256(IN_PARTS))],
            set(),
            lambda path: io.BufferedReader(Failing(str(path))),
        )
    assert list(list_objects(client, bucket)) == []


def test_the_parts_of_a_huge_file_are_not_too_many() -> None:
    assert part_bytes(2**25) == 8 * 2**20
    for size in (2**37, 5 * 2**40):
        assert size / part_bytes(size) <= 10_000


def test_names_with_odd_characters_arrive(client: Client, bucket: S3Url, tmp_path: Path) -> None:
    names = ["a b", " lead", "trail ", "a+b", "a%20b", "a?b", "a#b", "a&b", "a=b", "a;b", "a:b"]
    names += ["'", '"', "*", "<x>", "|", "~x", "...", ".x", "@", "$", "ä", "a\u0308", "日本", "😀"]
    names += ["{a}", "[a]", "^", "`", "\x85", "x" * 200, "a,b", "__init__.py", "e=mc\u00b2/deep"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    files = [(tmp_path / name, f"data/{name}", sha256(name.encode())) for name in names]
    marks.upload(client, bucket.bucket, files, set())
    found = folders.fetch(client, bucket / "data", tmp_path / "copy")
    assert sorted(entry.path for entry in found) == sorted(names)
    assert {(tmp_path / "copy" / name).read_text() for name in names} == set(names)
    delete_many(client, bucket.bucket, [key for _, key, _ in files])
    assert list(list_objects(client, bucket)) == []


def test_a_marked_file_that_can_not_be_read_is_named(
    client: Client, bucket: S3Url, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match="upload '.*none' to .*No such file .* Check the file"):
        marks.upload(client, bucket.bucket, [(tmp_path / "none", "key", "sum")], set())


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

    held_up: list[int] = []

    def action(number: int) -> None:
        if number == 0:
            raise Terminated
        if not hold.wait(60):
            held_up.append(number)

    try:
        with pytest.raises(Terminated):
            in_parallel(action, range(4))
        assert not held_up
    finally:
        hold.set()
