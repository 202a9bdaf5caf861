"""The two mirrors: a run's files to the store, and event files from the store for TensorBoard."""

import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.seaweedfs import SeaweedFS
from tests.training.conftest import Bucket, eventually
from training.board.event_mirror import EventMirror
from training.command_line import TrainingError
from training.mirror.upload_mirror import UploadMirror
from training.object_store import ObjectStore, S3Url, in_parallel

EVENTS = "events.out.tfevents.1"


@pytest.fixture
def run_url(bucket: Bucket, environment: SeaweedFS) -> S3Url:
    return S3Url(bucket.name, "runs/1")


def test_changed_files_are_uploaded_again_and_rotated_ones_deleted(
    bucket: Bucket, run_url: S3Url, tmp_path: Path
) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"stays here")
    old, log = tmp_path / "checkpoints" / "step-1.index", tmp_path / "log.txt"
    old.write_bytes(b"1")
    log.write_bytes(b"one")
    mirror = UploadMirror(
        ObjectStore(), tmp_path, run_url, exclude=frozenset({"model"}), interval=0.05
    )
    mirror.start()
    eventually(lambda: len(bucket.listing()) == 2)
    old.unlink()
    log.write_bytes(b"one two")
    (tmp_path / "checkpoints" / "step-2.index.tempstate1").write_bytes(b"not complete")
    eventually(lambda: bucket.listing() == ["runs/1/log.txt"])
    log.write_bytes(b"one two three")
    mirror.finish()

    assert bucket.get("runs/1/log.txt") == b"one two three"
    assert bucket.listing() == ["runs/1/log.txt"]


def test_folders_that_vanish_while_they_are_listed_do_not_end_the_mirror(
    bucket: Bucket, run_url: S3Url, tmp_path: Path
) -> None:
    """An export renames its folder: a mirror that met it was dead, and the rest never uploaded."""
    mirror = UploadMirror(ObjectStore(), tmp_path, run_url, interval=0.0)
    mirror.start()
    for number in range(300):
        folder = tmp_path / "model.part" / "variables"
        folder.mkdir(parents=True)
        (folder / "weights").write_bytes(b"x")
        folder.parent.rename(tmp_path / f".{number}.part")
        shutil.rmtree(tmp_path / f".{number}.part")
    (tmp_path / "metrics.json").write_bytes(b"{}")
    mirror.finish()
    assert bucket.listing() == ["runs/1/metrics.json"]


def test_what_a_mirror_did_not_expect_fails_the_run_too(
    run_url: S3Url, environment: SeaweedFS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mirror = UploadMirror(ObjectStore(), tmp_path, run_url)
    # As a file that can't be read does; root reads them all.
    monkeypatch.setattr(mirror, "_scan", lambda: {"gone/\0": (1, 1)})
    mirror.start()
    with pytest.raises(TrainingError, match=r"Gave up uploading to .*null byte"):
        mirror.finish()


def test_the_state_file_of_checkpoints_follows_the_files_it_names(
    bucket: Bucket, run_url: S3Url, tmp_path: Path
) -> None:
    class Recording(ObjectStore):
        order: list[str] = []

        def write(self, url: S3Url, content: bytes) -> None:
            super().write(url, content)
            self.order.append(url.prefix)

    for name in ("checkpoint", "step-1.data-00000-of-00001", "step-1.index"):
        (tmp_path / name).write_bytes(b"x")
    store = Recording()
    mirror = UploadMirror(store, tmp_path, run_url)
    mirror.start()
    mirror.finish()
    assert store.order[-1] == "runs/1/checkpoint" and len(store.order) == 3


def test_a_large_file_arrives_whole(bucket: Bucket, run_url: S3Url, tmp_path: Path) -> None:
    content = bytes(range(256)) * 4 * 2**12 * 20
    (tmp_path / "large").write_bytes(content)
    mirror = UploadMirror(ObjectStore(), tmp_path, run_url)
    mirror.start()
    mirror.finish()
    assert bucket.get("runs/1/large") == content


def test_a_store_that_stays_away_fails_the_run_after_retries(
    environment: SeaweedFS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    (tmp_path / "log.txt").write_bytes(b"x")
    told = threading.Event()
    mirror = UploadMirror(
        ObjectStore(), tmp_path, S3Url("b", "p"), give_up_after=1, on_failure=told.set
    )
    mirror.start()
    assert told.wait(20)
    with pytest.raises(TrainingError, match="Gave up uploading to 's3://b/p'. .*can't be reached"):
        mirror.finish()


def test_an_event_file_that_grows_is_appended_to_and_never_replaced(
    bucket: Bucket, run_url: S3Url, tmp_path: Path
) -> None:
    mirror = EventMirror(ObjectStore(), run_url, tmp_path)
    bucket.put(f"runs/1/{EVENTS}", b"first")
    bucket.put("runs/1/log.txt", b"no events")
    assert mirror.refresh() == 5
    with (tmp_path / EVENTS).open("rb") as reader:
        assert reader.read() == b"first"
        bucket.put(f"runs/1/{EVENTS}", b"first second")
        assert mirror.refresh() == 7
        assert reader.read() == b" second"
    assert mirror.refresh() == 0
    assert [file.name for file in tmp_path.iterdir()] == [EVENTS]


def test_a_restarted_mirror_goes_on_where_the_files_end(
    bucket: Bucket, run_url: S3Url, tmp_path: Path
) -> None:
    bucket.put(f"runs/1/{EVENTS}", b"first second")
    (tmp_path / EVENTS).write_bytes(b"first ")
    assert EventMirror(ObjectStore(), run_url, tmp_path).refresh() == 6
    assert (tmp_path / EVENTS).read_bytes() == b"first second"


def test_another_file_of_the_same_name_replaces_the_copy_and_a_deleted_one_goes(
    bucket: Bucket, run_url: S3Url, tmp_path: Path
) -> None:
    mirror = EventMirror(ObjectStore(), run_url, tmp_path)
    bucket.put(f"runs/1/a/{EVENTS}", b"first")
    mirror.refresh()
    bucket.put(f"runs/1/a/{EVENTS}", b"other")
    mirror.refresh()
    assert (tmp_path / "a" / EVENTS).read_bytes() == b"other"
    bucket.client.delete_object(Bucket=bucket.name, Key=f"runs/1/a/{EVENTS}")
    mirror.refresh()
    assert not (tmp_path / "a" / EVENTS).exists()


def test_an_idle_mirror_makes_one_list_call_an_interval_and_no_other_request(
    bucket: Bucket, run_url: S3Url, tmp_path: Path
) -> None:
    requests: list[str] = []
    store = ObjectStore()
    store._client.meta.events.register(
        "before-send.s3.*", lambda request, **_: requests.append(request.url)
    )
    mirror = EventMirror(store, run_url, tmp_path)
    bucket.put(f"runs/1/{EVENTS}", b"first")
    fetched = mirror.refresh()
    assert len(requests) == 2
    assert mirror.pause_after(fetched, 5) == 5
    requests.clear()
    for _ in range(3):
        assert mirror.pause_after(mirror.refresh(), 5) == 5
    assert len(requests) == 3 and all("list-type=2" in url for url in requests)

    # More than fit in one answer: twice the calls, half as often, until something happens.
    in_parallel(lambda number: store.write(run_url / f"file-{number}", b""), range(1000))
    requests.clear()
    assert mirror.pause_after(mirror.refresh(), 5) == 10
    assert len(requests) == 2
    bucket.put(f"runs/1/{EVENTS}", b"first second")
    assert mirror.pause_after(mirror.refresh(), 5) == 5


def mirror_command(bucket: Bucket, target: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "training", "mirror"),
        *(f"--source_url={bucket.url('runs')}", f"--target_dir={target}"),
        "--interval_seconds=0.1",
    ]


def test_the_mirror_command_copies_at_once_and_ends_at_once_on_sigterm(
    bucket: Bucket, tmp_path: Path
) -> None:
    bucket.put(f"runs/1/{EVENTS}", b"first")
    copy = tmp_path / "logs" / "1" / EVENTS
    with bucket.start(mirror_command(bucket, tmp_path / "logs")) as process:
        eventually(copy.exists)
        bucket.put(f"runs/1/{EVENTS}", b"first second")
        eventually(lambda: copy.read_bytes() == b"first second")
        process.send_signal(signal.SIGTERM)
        assert process.wait(1) == 0
        assert process.communicate()[1] == ""


def test_the_mirror_command_warns_once_of_a_store_that_is_away_and_keeps_trying(
    bucket: Bucket, tmp_path: Path
) -> None:
    away = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}
    with bucket.start(mirror_command(bucket, tmp_path), away) as process:
        assert process.stderr is not None
        assert "can't be reached" in process.stderr.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        process.terminate()
        assert process.communicate()[1] == ""
