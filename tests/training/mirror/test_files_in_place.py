"""What is written to the file that it replaces is uploaded when it is complete, and never half."""

import itertools
import os
import time
from pathlib import Path
from typing import Any

import pytest

from store import transfers
from store.client import from_environment
from store.urls import S3Url
from tests.seaweedfs import SeaweedFS
from tests.training.conftest import Bucket
from tests.waiting import eventually
from training.mirror.upload_mirror import UploadMirror

GOOD, LATER = b"good" * 5000, b"later" * 5000


@pytest.fixture
def mirror(bucket: Bucket, environment: SeaweedFS, tmp_path: Path) -> UploadMirror:
    """One that looks when it is told to, at its start and at its end, and never in between."""
    url = S3Url(bucket.name, "runs/1")
    return UploadMirror(from_environment(), tmp_path, url, interval=3600)


def content(bucket: Bucket, name: str) -> bytes:
    return bucket.get(f"runs/1/{name}") if f"runs/1/{name}" in bucket.listing() else b""


def looks(mirror: UploadMirror, times: int = 2) -> None:
    """Have it look. Twice is enough for what does not change."""
    for _ in range(times):
        mirror.upload()


def test_half_a_checkpoint_never_takes_the_place_of_a_good_one(
    bucket: Bucket, mirror: UploadMirror, tmp_path: Path
) -> None:
    """Symptom: a pod that was killed then went on from half a file, and failed for ever."""
    weights = tmp_path / "last.weights.h5"
    weights.write_bytes(GOOD)
    looks(mirror)
    assert content(bucket, weights.name) == GOOD
    with weights.open("wb", buffering=0) as file:
        for start in range(0, len(LATER), 5000):
            file.write(LATER[start : start + 5000])
            looks(mirror, 1)
            assert content(bucket, weights.name) == GOOD
    looks(mirror, 1)
    assert content(bucket, weights.name) == LATER


def test_what_only_grows_is_uploaded_while_it_does(
    bucket: Bucket, mirror: UploadMirror, tmp_path: Path
) -> None:
    table = tmp_path / "history.csv"
    table.write_bytes(b"epoch,loss\n")
    looks(mirror)
    assert content(bucket, table.name) == b"epoch,loss\n"
    for epoch in range(3):
        with table.open("ab") as file:
            file.write(b"%d,0.1\n" % epoch)
        looks(mirror, 1)
        assert b"\n%d," % epoch in content(bucket, table.name)


@pytest.mark.parametrize("looked", [False, True])
def test_of_who_was_killed_while_it_wrote_the_good_copy_stays(
    bucket: Bucket, mirror: UploadMirror, tmp_path: Path, looked: bool
) -> None:
    """Whether or not the mirror has looked between the kill and its end."""
    half, whole, new = (tmp_path / name for name in ("half.h5", "whole.h5", "new.h5"))
    half.write_bytes(GOOD)
    whole.write_bytes(GOOD)
    looks(mirror)
    assert content(bucket, half.name) == content(bucket, whole.name) == GOOD
    killed = time.time() + 60
    # One of the two was complete long before the end.
    whole.write_bytes(LATER)
    half.write_bytes(LATER[:7000])
    new.write_bytes(LATER[:7000])
    for file in (half, new):
        os.utime(file, (killed, killed))
    if looked:
        # Symptom: the last look found what this one did, and took it for complete.
        (tmp_path / "tfevents").write_bytes(b"x")
        mirror.start()
        eventually(lambda: content(bucket, "tfevents") == b"x")
    else:
        mirror.start()
    mirror.finish(cut_at=killed)
    assert content(bucket, half.name) == GOOD
    assert content(bucket, whole.name) == LATER
    assert content(bucket, new.name) == b""


def test_who_ends_by_itself_leaves_nothing_half(
    bucket: Bucket, mirror: UploadMirror, tmp_path: Path
) -> None:
    looks(mirror)
    (tmp_path / "last.h5").write_bytes(LATER)
    mirror.start()
    mirror.finish()
    assert content(bucket, "last.h5") == LATER


def test_a_large_file_that_is_written_to_while_it_is_sent_is_not_put(
    bucket: Bucket, mirror: UploadMirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = tmp_path / "large.h5"
    large.write_bytes(bytes(9 * 2**20))
    looks(mirror)
    etag = bucket.client.head_object(Bucket=bucket.name, Key="runs/1/large.h5")["ETag"]

    send, written = transfers.send, itertools.count(1)

    def writes_meanwhile(*what: Any, **more: Any) -> Any:
        with large.open("r+b") as file:
            file.write(b"torn")
        # The clock of files may stand still for some milliseconds.
        moment = next(written)
        os.utime(large, (moment, moment))
        return send(*what, **more)

    with monkeypatch.context() as patched:
        patched.setattr(transfers, "send", writes_meanwhile)
        large.write_bytes(b"\1" * (9 * 2**20))
        looks(mirror, 5)
        assert next(written) > 2
        now = bucket.client.head_object(Bucket=bucket.name, Key="runs/1/large.h5")["ETag"]
        assert now == etag
    mirror.start()
    mirror.finish()
    assert bucket.get("runs/1/large.h5")[:5] == b"torn\1"
