"""One suite over all stores: what dlstack does with a store, done with each kind of them.

SeaweedFS, moto and its strict relatives are there always; versitygw where it is built already
(`make test-stores` does). What only a real network has is not here: DNS names of buckets lead to
this machine by a patch.
"""

import hashlib
import json
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from infra.resources import ownership
from infra.resources.bucket import _give_back
from store import bucket_marks, buckets, contents, dialect, folders, marks, models, streams
from store.access import ENDPOINT, REGION, Access
from store.client import Client, connect, from_environment
from store.creation import create
from store.errors import (
    Changed,
    Expired,
    NotTrusted,
    OtherContent,
    StoreError,
    Unreachable,
    WrongAddressing,
    WrongClock,
    WrongCredentials,
)
from store.fetching import fetch_file
from store.folders import LocalFile
from store.objects import delete_many, list_files, list_objects, read, write
from store.transfers import upload_file, upload_hashed
from store.urls import S3Url
from tests import versitygw
from tests.certificates import issue
from tests.seaweedfs import SeaweedFS
from tests.store.test_models import put_version
from tests.strict_store import DOMAIN, Rules, StrictStore

LIMITED = {
    "moto": Rules(),
    "virtual hosts only": Rules(virtual_hosts_only=True),
    "no checksums": Rules(checksums=False),
    "conditions ignored": Rules(conditions="ignored"),
    "conditions refused": Rules(conditions="refused"),
    "one delete at a time": Rules(deletes_many=False),
    "the least": Rules(
        virtual_hosts_only=True,
        checksums=False,
        conditions="refused",
        deletes_many=False,
        session_token="T" * 200,
    ),
}
ENCRYPTED = ("virtual hosts only", "no checksums", "the least")
KEYS = ("plain", "a b/c+d & e?.txt", "ü/日本.bin", "%41#1", "deep/er/and/deeper.txt", "empty")


@pytest.fixture(autouse=True)
def names_of_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lead the names of stores and buckets to this machine, as a DNS of their own would."""
    ask = socket.getaddrinfo

    def answer(host: Any, *arguments: Any, **named: Any) -> Any:
        ours = str(host) == DOMAIN or str(host).endswith(f".{DOMAIN}")
        return ask("127.0.0.1" if ours else host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", answer)


@dataclass
class Tried:
    """A store, and how it is reached."""

    access: Access
    server: Any
    rules: Rules
    client: Client | None = None


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("authority")
    root = issue(folder, "authority", None)
    names = (DOMAIN, f"*.{DOMAIN}", "127.0.0.1")
    return root, issue(folder, "store", root, *names)


@pytest.fixture(scope="module")
def stores(authority: Any) -> Iterator[Any]:
    """Start a store when a test first asks for it by name."""
    root, issued = authority
    text = root.pem.certificate.read_text()
    with ExitStack() as stack:
        there: dict[str, Tried] = {}

        def store(name: str) -> Tried:
            if name not in there:
                if name in LIMITED:
                    rules = LIMITED[name]
                    tls = (issued.pem, text) if name in ENCRYPTED else (None, "")
                    server: Any = stack.enter_context(StrictStore(rules, *tls))
                elif name == "versitygw":
                    server, rules = stack.enter_context(versitygw.VersityGw(issued.pem)), Rules()
                    server.authority = text
                else:
                    server, rules = stack.enter_context(SeaweedFS()), Rules()
                there[name] = Tried(server.access(), server, rules)
            return there[name]

        yield store


ALL = [
    "seaweedfs",
    pytest.param(
        "versitygw",
        marks=pytest.mark.skipif(not versitygw.is_there(), reason="'make test-stores' builds it"),
    ),
    *LIMITED,
]


@pytest.fixture(params=ALL)
def tried(request: pytest.FixtureRequest, stores: Any) -> Tried:
    found: Tried = stores(request.param)
    return found


@pytest.fixture
def variables(tried: Tried, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a pod."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        **tried.access.variables,
        ENDPOINT: tried.access.endpoint,
        REGION: tried.access.region,
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def client(variables: None, tried: Tried) -> Client:
    """As pods have it: made once for each store."""
    tried.client = tried.client or from_environment()
    return tried.client


@pytest.fixture
def bucket(client: Client) -> Iterator[S3Url]:
    url = S3Url(f"dialect-{uuid4().hex[:12]}")
    buckets.create(client, url.bucket)
    yield url
    contents.delete(client, url.bucket, contents.look(client, url.bucket), last="")
    buckets.delete(client, url.bucket)


def test_the_program_reaches_the_store_as_its_pods_do(
    tried: Tried, client: Client, bucket: S3Url
) -> None:
    connect.cache_clear()
    program = connect(tried.access, direct=False)
    write(program, bucket / "key", b"x")
    assert read(client, bucket / "key") == b"x"


def test_what_is_found_out_of_a_store(client: Client, bucket: S3Url, tried: Tried) -> None:
    found = dialect.of(client, bucket.bucket)
    assert found.checksums == tried.rules.checksums
    # versitygw may cut a TLS connection in the place of an answer: then it is as good as refused.
    if not isinstance(tried.server, versitygw.VersityGw):
        assert found.conditional == (tried.rules.conditions == "kept")
    assert len(found.lacks) == 2 - found.checksums - found.conditional
    # Nothing stays of the try, and there is one only.
    assert list(list_objects(client, bucket)) == []
    assert dialect.of(client, bucket.bucket) is found


def test_keys_and_contents(client: Client, bucket: S3Url) -> None:
    written = {key: key.encode() if key != "empty" else b"" for key in KEYS}
    for key, content in written.items():
        write(client, bucket / key, content)
    assert {entry.path: entry.size for entry in list_files(client, bucket)} == {
        key: len(content) for key, content in written.items()
    }
    assert {key: read(client, bucket / key) for key in KEYS} == written
    delete_many(client, bucket.bucket, [*KEYS, "none"])
    assert list(list_objects(client, bucket)) == []


def test_an_object_is_created_once_however_many_want_to(client: Client, bucket: S3Url) -> None:
    """Each with a client of its own, as in pods of their own."""

    def one(number: int) -> bool:
        return create(from_environment(), bucket / "claim", b"%d" % number)

    with ThreadPoolExecutor(3) as threads:
        won = list(threads.map(one, range(3)))
    assert sum(won) <= 1
    if dialect.of(client, bucket.bucket).conditional:
        assert sum(won) == 1
    elif not any(won):
        # All withdrew; whoever comes alone gets through.
        won = [create(client, bucket / "claim", b"0")]
    assert read(client, bucket / "claim") == b"%d" % won.index(True)
    assert create(client, bucket / "claim", b"late") is False
    assert [entry.path for entry in list_objects(client, bucket)] == ["claim"]


def test_each_run_gets_a_version_of_its_own(client: Client, bucket: S3Url) -> None:
    with ThreadPoolExecutor(2) as threads:
        numbers = list(
            threads.map(
                lambda run: models.claim(from_environment(), bucket / "models/m", run * 64), "ab"
            )
        )
    assert len(set(numbers)) == 2
    for number, run in zip(numbers, "ab", strict=True):
        claim = json.loads(read(client, bucket / f"models/m/{number}/{models.CLAIM_FILE}"))
        assert claim["run_hash"] == run * 64


def test_a_published_model_is_found(client: Client, bucket: S3Url) -> None:
    files = {"saved_model.pb": b"\x08model", "variables/a b": b"x" * 1000}
    put_version(client, bucket / "models/m", 1, "a" * 64, files)
    found = models.newest_of_run(client, bucket / "models/m", "a" * 64, thoroughly=True)
    assert found.version is not None and found.version.number == 1 and not found.damaged


@pytest.mark.parametrize("size", [5, 18 * 2**20], ids=["small", "in parts"])
def test_files_arrive_as_they_were(
    client: Client, bucket: S3Url, tmp_path: Path, size: int
) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(size))
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    upload_file(client, file, bucket / "plain", metadata={"of": "a test"})
    marks.upload(client, bucket.bucket, [(file, "marked", sha256)], [])
    assert marks.mark(client, bucket / "marked") == sha256
    folders.fetch(client, bucket, tmp_path / "copy")
    for name in ("plain", "marked"):
        assert (tmp_path / "copy" / name).read_bytes() == file.read_bytes()
    listed = next(one for one in list_files(client, bucket) if one.path == "plain")
    write(client, bucket / "plain", file.read_bytes()[::-1])
    with pytest.raises(Changed):
        fetch_file(client, bucket / "plain", tmp_path / "other", listed.size, etag=listed.etag)
    assert not (tmp_path / "other").exists()
    with pytest.raises(OtherContent), file.open("rb") as opened:
        upload_hashed(client, opened, bucket / "wrong", "0" * 64)
    assert not [entry for entry in list_objects(client, bucket) if entry.path == "wrong"]


def test_a_folder_by_its_content(client: Client, bucket: S3Url, tmp_path: Path) -> None:
    files = []
    for path, content in {"a": b"1", "deep/b c": b"2", "ü": b"1", "empty": b""}.items():
        file = tmp_path / hashlib.sha256(path.encode()).hexdigest()
        file.write_bytes(content)
        files.append(LocalFile(path, len(content), hashlib.sha256(content).hexdigest(), file))
    url = folders.put(client, bucket.bucket, files)
    assert folders.is_complete(client, url)
    found = folders.fetch(client, url, tmp_path / "copy")
    assert {one.path: (tmp_path / "copy" / one.path).read_bytes() for one in found} == {
        one.path: one.file.read_bytes() for one in files
    }
    assert folders.hold(client, url)
    assert folders.put(client, bucket.bucket, files) == url
    assert len(list(list_objects(client, bucket))) == 4


def test_files_are_read_where_they_are(
    client: Client, bucket: S3Url, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "PIECE_BYTES", 2**18)
    content = os.urandom(2**20 + 5)
    write(client, bucket / "ü/a b", content)
    (entry,) = list_files(client, bucket)
    there = streams.Content(bucket / entry.path, entry.size, entry.etag)
    with BufferedReader(streams.ObjectFile(client, there), 2**16) as file:
        assert b"".join(iter(lambda: file.read(9999), b"")) == content
        file.seek(2**19)
        assert file.read(7) == content[2**19 : 2**19 + 7]
        file.seek(3)
        write(client, bucket / "ü/a b", content[::-1])
        with pytest.raises(Changed, match="has changed since this training began"):
            file.read()


def test_a_bucket_is_marked_once_and_deleted_with_all_in_it(client: Client) -> None:
    name = f"dialect-{uuid4().hex[:12]}"
    buckets.create(client, name)
    mark = bucket_marks.put(client, name, stack_id="one", stack="p-s")
    assert bucket_marks.put(client, name, stack_id="one", stack="p-s") == mark
    assert bucket_marks.find(client, name) == mark
    for number in range(20):
        write(client, S3Url(name, f"runs/{number}"), b"x")
    held = contents.look(client, name)
    assert len(held.versions) == 21
    contents.delete(client, name, held, last=bucket_marks.KEY)
    buckets.delete(client, name)
    buckets.delete(client, name)
    assert buckets.created_at(client, name) is None


def test_uploads_that_were_cut_short_are_seen_and_ended(client: Client, bucket: S3Url) -> None:
    how = dialect.of(client, bucket.bucket)
    place = {"Bucket": bucket.bucket, "Key": f"blobs/{'a' * 64}"}
    upload = how.s3.create_multipart_upload(**place)["UploadId"]
    how.s3.upload_part(**place, UploadId=upload, PartNumber=1, Body=bytes(5 * 2**20))
    (found,) = contents.unfinished(client, bucket.bucket)
    assert found.key == place["Key"]
    seen = contents.arrived(client, bucket.bucket, found)
    assert seen is not None and seen.first <= seen.last and seen.size == 5 * 2**20
    contents.abort(client, bucket.bucket, [found])
    assert contents.unfinished(client, bucket.bucket) == []
    assert contents.arrived(client, bucket.bucket, found) is None
    contents.abort(client, bucket.bucket, [found])


def test_a_bucket_that_is_given_keeps_its_tags(
    tried: Tried, client: Client, bucket: S3Url, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made, tagged, and kept by a platform's team; with objects of theirs in it."""
    tags = {"TagSet": [{"Key": "team", "Value": "platform"}]}
    s3 = dialect.of(client, bucket.bucket).s3
    try:
        s3.put_bucket_tagging(Bucket=bucket.bucket, Tagging=tags)
    except ClientError:
        # moto has them, but where a request with a checksum, as this one is, is refused.
        assert not isinstance(tried.server, StrictStore) or not tried.rules.checksums
        pytest.skip("the store knows no tags of buckets")
    write(client, bucket / "theirs", b"x")
    store = {"in_stack": False, "stack_id": "one", "stack": "p-s"}
    mark = ownership.take(client, bucket.bucket, store, known=False, given=True)
    assert ownership.take(client, bucket.bucket, store, known=True, given=True) == mark
    for key in (f"blobs/{'a' * 64}", "theirs-too"):
        s3.create_multipart_upload(Bucket=bucket.bucket, Key=key)
    _give_back(client, bucket.bucket)
    # moto says of all of them that they were begun in 2010: before this stack.
    is_moto = isinstance(tried.server, StrictStore)
    left = [one.key for one in contents.unfinished(client, bucket.bucket)]
    assert left[-1] == "theirs-too" and len(left) == 1 + is_moto
    assert client.s3.get_bucket_tagging(Bucket=bucket.bucket)["TagSet"] == tags["TagSet"]
    assert [entry.path for entry in list_objects(client, bucket)] == ["theirs"]


class TestStrict:
    """What only the strict ones ask for, and what is said where it lacks."""

    @pytest.fixture
    def tried(self, stores: Any) -> Tried:
        found: Tried = stores("the least")
        return found

    def _refused(self, tried: Tried, **other: Any) -> str:
        connect.cache_clear()
        kind = other.pop("kind")
        client = connect(tried.server.access(**other), direct=False)
        with pytest.raises(kind) as raised:
            list(list_objects(client, S3Url("any-bucket")))
        assert tried.access.session_token not in str(raised.value)
        return str(raised.value)

    def test_the_style_of_addresses(self, tried: Tried) -> None:
        said = self._refused(tried, addressing="", kind=WrongAddressing)
        assert "Set dlstack:s3AddressingStyle to 'virtual'." in said

    def test_a_bucket_without_a_host_name(
        self, tried: Tried, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("store.client._ATTEMPTS", 1)
        endpoint = tried.access.endpoint.replace(DOMAIN, "none.invalid")
        said = self._refused(tried, endpoint=endpoint, kind=Unreachable)
        assert "each bucket needs a DNS name of its own there" in said

    def test_the_authority(self, tried: Tried, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("store.client._ATTEMPTS", 1)
        said = self._refused(tried, ca_certificate="", kind=NotTrusted)
        assert "set dlstack:s3CaCertificate to the authority's certificate (PEM)" in said

    def test_a_token_that_is_missing(self, tried: Tried) -> None:
        said = self._refused(tried, session_token="", kind=WrongCredentials)
        assert "dlstack:s3SessionToken, too, if they are temporary" in said

    def test_a_token_that_has_expired(self, tried: Tried, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tried.rules, "expired", True)
        said = self._refused(tried, kind=Expired)
        assert "have expired (ExpiredToken). Set dlstack:s3AccessKey, dlstack:s3Sec" in said

    def test_another_time(self, tried: Tried, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tried.rules, "clock_ahead_seconds", 3600)
        assert "Set this machine's clock." in self._refused(tried, kind=WrongClock)

    def test_a_store_with_too_much_to_do_and_cut_connections(
        self, tried: Tried, client: Client, bucket: S3Url
    ) -> None:
        dialect.of(client, bucket.bucket)
        tried.server.busy, tried.server.cuts = 1, 2
        write(client, bucket / "key", b"x")
        assert read(client, bucket / "key") == b"x"
        assert (tried.server.busy, tried.server.cuts) == (0, 0)

    def test_they_hold_up_who_reads_and_no_more(
        self, tried: Tried, client: Client, bucket: S3Url
    ) -> None:
        write(client, bucket / "key", b"x" * 1000)
        (entry,) = list_files(client, bucket)
        there = streams.Content(bucket / "key", entry.size, entry.etag)
        # More than one request tries by itself.
        tried.server.busy, tried.server.cuts = 4, 6
        assert streams.read_range(client, there, 10, 990) == b"x" * 990
        assert (tried.server.busy, tried.server.cuts) == (0, 0)


def test_files_come_and_go_without_a_look_at_each_and_whatever_is_cut_off(
    stores: Any, tmp_path: Path
) -> None:
    """A list has said what is there; what the quick way can't do is left to boto3."""
    tried: Tried = stores("the least")
    client = connect(tried.access, direct=False)
    url = S3Url(f"dialect-{uuid4().hex[:12]}")
    buckets.create(client, url.bucket)
    dialect.of(client, url.bucket)
    files = []
    for number in range(folders._LOOKED_AT_SINGLY + 1):
        file = tmp_path / str(number)
        file.write_bytes(b"%d" % number)
        sha256 = hashlib.sha256(b"%d" % number).hexdigest()
        files.append(LocalFile(file.name, file.stat().st_size, sha256, file))
    tried.server.asked.clear()
    tried.server.cuts, tried.server.busy = 1, 1
    index = folders.put(client, url.bucket, files)
    tried.server.cuts, tried.server.busy = 1, 1
    assert len(folders.fetch(client, index, tmp_path / "copy")) == len(files)
    assert {(tmp_path / "copy" / one.path).read_bytes() for one in files} == {
        Path(one.file).read_bytes() for one in files
    }
    looks = [one for one in tried.server.asked if one.startswith("HEAD")]
    assert not [one for one in looks if folders.BLOBS in one]
    contents.delete(client, url.bucket, contents.look(client, url.bucket), last="")
    buckets.delete(client, url.bucket)


def test_contents_that_change_on_the_way_are_refused_without_checksums(
    stores: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the store knows no checksums, signatures do what these do."""
    client = connect(stores("no checksums").access, direct=False)
    name = f"dialect-{uuid4().hex[:12]}"
    buckets.create(client, name)
    plain = dialect.of(client, name).s3

    def other(request: Any, **_: Any) -> None:
        request.body = BytesIO(b"another content")

    plain.meta.events.register("before-send.s3.PutObject", other)
    with pytest.raises(Exception, match="XAmzContentSHA256Mismatch"):
        write(client, S3Url(name, "key"), b"the content is")
    buckets.delete(client, name)


def test_a_ballot_that_was_left_behind_counts_for_a_while_only(
    stores: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a process that was killed between two requests."""
    client = connect(stores("conditions ignored").access, direct=False)
    url = S3Url(f"dialect-{uuid4().hex[:12]}", "object")
    buckets.create(client, url.bucket)
    write(client, S3Url(url.bucket, "object.ballot-of-somebody-killed"), b"")
    monkeypatch.setattr("store.creation._PAUSE_SECONDS", 0)
    assert not create(client, url, b"x")
    write(client, S3Url(url.bucket, f"{bucket_marks.KEY}.ballot-of-somebody-killed"), b"")
    with pytest.raises(StoreError, match="was killed at that .* again, in ten minutes"):
        bucket_marks.put(client, url.bucket, stack_id="1", stack="dlstack-dev")
    monkeypatch.setattr("store.creation._LEFT_BEHIND", timedelta(0))
    assert create(client, url, b"x")
    contents.delete(client, url.bucket, contents.look(client, url.bucket), last="")
    buckets.delete(client, url.bucket)
