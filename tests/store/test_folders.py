"""Folders by their content, in a real store. With each kind of store: test_dialects.py."""

import hashlib
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest

from infra.run import run_hash
from store import folders
from store.client import Client
from store.errors import NoObject, StoreError
from store.folders import Entry, LocalFile
from store.objects import delete, head, list_objects, write
from store.urls import S3Url

CONTENTS = {
    "a.py": b"a",
    "sub/b.bin": b"b" * 1000,
    "sub/same": b"a",
    "empty": b"",
    "\u00fc \n'": b"x",
}


def local(folder: Path, contents: dict[str, bytes]) -> list[LocalFile]:
    found = []
    for number, (path, content) in enumerate(contents.items()):
        file = folder / str(number)
        file.write_bytes(content)
        found.append(LocalFile(path, len(content), hashlib.sha256(content).hexdigest(), file))
    return found


@pytest.fixture
def url(client: Client, bucket: S3Url, tmp_path: Path) -> S3Url:
    source = tmp_path / "source"
    source.mkdir()
    return folders.put(client, bucket.bucket, local(source, CONTENTS))


def test_it_is_called_after_what_manifests_say_of_it(url: S3Url) -> None:
    sums = {path: hashlib.sha256(content).hexdigest() for path, content in CONTENTS.items()}
    assert url.prefix == f"folders/{run_hash.digest(sums)}"
    assert folders.is_index(url) and not folders.is_index(S3Url("b", "folders/mine"))


def test_what_is_read_is_what_was_put(client: Client, url: S3Url, tmp_path: Path) -> None:
    found = folders.fetch(client, url, tmp_path / "copy")
    assert {one.path: (tmp_path / "copy" / one.path).read_bytes() for one in found} == CONTENTS
    assert {one.path: one.size for one in found} == {p: len(c) for p, c in CONTENTS.items()}
    assert not any(one.etag for one in found)


def test_each_content_is_there_once(client: Client, bucket: S3Url, url: S3Url) -> None:
    there = [entry.path for entry in list_objects(client, bucket)]
    assert len(there) == 1 + len(set(CONTENTS.values()))
    assert all(map(folders.is_own, there))


@pytest.mark.parametrize("most", [0, 64], ids=["by a list", "singly"])
def test_only_what_is_not_there_is_sent(
    client: Client,
    bucket: S3Url,
    url: S3Url,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    most: int,
) -> None:
    monkeypatch.setattr(folders, "_LOOKED_AT_SINGLY", most)
    sent: list[str] = []
    upload = folders.marks.upload

    def counted(
        client: Client, bucket: str, items: Iterable[tuple[Path, str, str]], *more: set[str]
    ) -> None:
        files = list(items)
        sent.extend(key for _, key, _ in files)
        upload(client, bucket, files, *more)

    monkeypatch.setattr(folders.marks, "upload", counted)
    files = local(tmp_path, CONTENTS | {"new": b"new"})
    other = folders.put(client, bucket.bucket, files)
    assert sent == [f"blobs/{hashlib.sha256(b'new').hexdigest()}"]
    assert folders.is_complete(client, url) and folders.is_complete(client, other)
    # A content that is not whole is not there.
    write(client, bucket / sent[0], b"ne")
    assert not folders.is_complete(client, other)
    folders.put(client, bucket.bucket, files)
    assert folders.is_complete(client, other)


def test_what_is_known_to_be_there_is_not_looked_at(
    client: Client, bucket: S3Url, tmp_path: Path
) -> None:
    files = local(tmp_path, CONTENTS)
    folders.put(client, bucket.bucket, files, lambda: {one.sha256 for one in files})
    assert len(list(list_objects(client, bucket))) == 1


def test_an_index_is_put_before_contents(
    client: Client, bucket: S3Url, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever takes away what no index names may take them in between."""
    files = local(tmp_path, CONTENTS)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(folders.marks, "upload", killed)
    with pytest.raises(KeyboardInterrupt):
        folders.put(client, bucket.bucket, files)
    [entry] = list_objects(client, bucket)
    url = S3Url(bucket.bucket, entry.path)
    assert folders.is_index(url) and not folders.is_complete(client, url)


def test_a_folder_that_is_held_is_as_if_put_just_now(client: Client, url: S3Url) -> None:
    before = head(client, url)
    assert folders.hold(client, url)
    after = head(client, url)
    assert after["ETag"] == before["ETag"] and after["LastModified"] >= before["LastModified"]
    assert not folders.hold(client, folders.index(url.bucket, "0" * 64))


def test_a_content_that_is_gone_or_another_is_told(
    client: Client, bucket: S3Url, url: S3Url, tmp_path: Path
) -> None:
    place = folders.blob(bucket.bucket, hashlib.sha256(CONTENTS["sub/b.bin"]).hexdigest())
    write(client, place, b"c" * 1000)
    with pytest.raises(StoreError, match="blobs/.* is not what its name says: .* Delete it, and"):
        folders.fetch(client, url, tmp_path / "changed")
    delete(client, place)
    with pytest.raises(NoObject):
        folders.fetch(client, url, tmp_path / "gone")


@pytest.mark.parametrize("content", [b"", b"no index", b"\x1f\x8b\x08\0"])
def test_an_index_that_somebody_has_written_to_is_told(
    client: Client, url: S3Url, content: bytes
) -> None:
    write(client, url, content)
    with pytest.raises(StoreError, match="folders/.* is not what its name says"):
        folders.entries(client, url)


def test_a_plain_folder_is_read_alike(client: Client, bucket: S3Url, tmp_path: Path) -> None:
    write(client, bucket / "mine/a b.txt", b"x")
    url = bucket / "mine"
    [entry] = folders.fetch(client, url, tmp_path)
    assert (entry.path, entry.size, entry.sha256, entry.url) == ("a b.txt", 1, "", url / "a b.txt")
    assert entry.etag
    with pytest.raises(NoObject):
        folders.entries(client, folders.index(bucket.bucket, "0" * 64))


def test_100_000_files_take_little_memory() -> None:
    sums = {
        f"images/class-{n % 100}/picture-{n}.jpg": hashlib.sha256(b"%d" % n).hexdigest()
        for n in range(100_000)
    }
    files = [LocalFile(path, 1000, sha256, Path()) for path, sha256 in sums.items()]
    packed, url = folders._packed(files), folders.index("b", folders.digest(sums))
    del sums, files
    tracemalloc.start()
    found = [Entry(*one, "", url) for one in folders._parsed(packed)]
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == 100_000
    assert held < 50e6 and most < 80e6, (held, most)
