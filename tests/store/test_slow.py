"""A store behind a slow line: all goes on to the end, and it is said while it goes on.

Agent and copy of a model behind one: tests/training/agent/test_bad_days.py,
tests/serving/sync/test_sync.py.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from store import folders, parallel
from store.client import Client, connect, from_environment
from store.objects import write
from store.parallel import Lane
from store.sending import PART_BYTES
from store.transfers import upload_file
from store.urls import S3Url
from tests.seaweedfs import SeaweedFS
from tests.store.test_folders import local
from tests.store_gate import Gate


@pytest.fixture
def gate(object_store: SeaweedFS) -> Iterator[Gate]:
    with Gate(object_store) as gate:
        gate.open()
        yield gate


@pytest.fixture
def lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has just begun."""
    monkeypatch.setattr(parallel, "_lanes", parallel._FIRST_LANES)


@pytest.fixture
def slow(object_store: SeaweedFS, gate: Gate, lanes: None) -> Iterator[Client]:
    """The client of a `pulumi` behind a slow line."""
    client = connect(replace(object_store.access(), endpoint=gate.url), direct=True)
    yield client
    # The gate waits for its connections to end.
    client.close()
    connect.cache_clear()


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer may take longer than it should, as on a machine that stands still for seconds."""
    monkeypatch.setattr("store.client._READ_SECONDS", 60)


@pytest.mark.slow
@pytest.mark.usefixtures("unhurried")
def test_a_part_may_take_longer_than_a_connection(
    slow: Client, bucket: S3Url, gate: Gate, tmp_path: Path
) -> None:
    """Symptom: the time for a connection, of 5 s, was that for the whole of a part as well, which
    was sent a second time by boto3."""
    file = tmp_path / "file"
    file.write_bytes(os.urandom(PART_BYTES + 1000))
    gate.bytes_per_second = 10**6
    assert upload_file(slow, file, bucket / "large").size == PART_BYTES + 1000
    # Each part went at the first try.
    assert slow.requests is not None and slow.requests._paused_until == 0.0
    assert not slow.s3.list_multipart_uploads(Bucket=bucket.bucket).get("Uploads")


@pytest.mark.slow
def test_a_pod_may_take_longer_than_its_connection(
    object_store: SeaweedFS,
    bucket: S3Url,
    gate: Gate,
    lanes: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", gate.url)
    file = tmp_path / "file"
    file.write_bytes(os.urandom(5_000_000))
    gate.bytes_per_second = 10**6
    client = from_environment()
    for requests in (client.requests, None):
        client.requests = requests
        assert upload_file(client, file, bucket / "one").size == 5_000_000
    # As the index of many files is.
    write(client, bucket / "two", file.read_bytes())
    client.close()


@pytest.mark.slow
def test_many_files_share_a_slow_line_and_it_is_said(
    slow: Client, bucket: S3Url, gate: Gate, tmp_path: Path
) -> None:
    """Symptom: of 16 at a time none was through when its answer was due, and all began anew."""
    files = local(tmp_path, {str(n): os.urandom(300_000) for n in range(16)})
    gate.bytes_per_second = 250_000
    said: list[str] = []
    url = folders.put(slow, bucket.bucket, files, tell=said.append)
    gate.bytes_per_second = 0
    assert folders.is_complete(slow, url)
    # After 10 s; on a busy machine the thread that says so comes later.
    assert said and re.match(r"Uploading: \S+ of 4\.8 MB in \d\d s, ", said[0])


def test_lanes_are_few_where_it_is_slow(lanes: None, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(parallel.time, "monotonic", lambda: now[0])

    def send(seconds: float) -> int:
        with Lane():
            now[0] += seconds
        return parallel._lanes

    assert [send(1) for _ in range(14)][-2:] == [16, 16]
    assert [send(20) for _ in range(5)] == [8, 4, 2, 1, 1]
    assert send(10) == 1 and send(1) == 2
