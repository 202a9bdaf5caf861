"""A run's files are kept in the store while they are written, and a checkpoint's in an order."""

import ctypes
import itertools
import os
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from store.client import from_environment
from store.patience import Patience
from store.urls import S3Url
from tests.seaweedfs import SeaweedFS
from tests.training.conftest import Bucket, recorded_puts
from tests.waiting import eventually
from training.checkpoints import Checkpoints
from training.command_line import TrainingError
from training.mirror import upload_mirror
from training.mirror.upload_mirror import UploadMirror
from training.quiet_tensorflow import tf


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
        from_environment(), tmp_path, run_url, exclude=frozenset({"model"}), interval=0.05
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
    mirror = UploadMirror(from_environment(), tmp_path, run_url, interval=0.0)
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
    mirror = UploadMirror(from_environment(), tmp_path, run_url)

    def unexpected() -> Any:
        raise ValueError("as a fault of its own is")

    monkeypatch.setattr(mirror._contents, "stamps", unexpected)
    mirror.start()
    with pytest.raises(TrainingError, match=r"Gave up uploading to .*as a fault of its own is"):
        mirror.finish()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (b"plot\xff.png", "not text in UTF-8"),
        (b"plot\x01.png", "has a control character"),
        (b"/".join([b"a" * 200] * 6), "longer than 1024 bytes"),
    ],
)
def test_a_name_that_no_object_can_have_is_told_at_once(
    run_url: S3Url, tmp_path: Path, name: bytes, problem: str
) -> None:
    """Symptom otherwise: five minutes after the end of the training, during which nothing else is
    uploaded, and then an error about the store."""
    file = tmp_path / os.fsdecode(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x")
    failed = threading.Event()
    mirror = UploadMirror(from_environment(), tmp_path, run_url, on_failure=failed.set)
    mirror.start()
    with pytest.raises(TrainingError, match=f"can't have the file '.*{problem}. Let the boot"):
        mirror.finish(timeout=60)
    assert failed.is_set()


def test_a_name_that_no_object_can_have_keeps_no_other_file_from_the_store(
    bucket: Bucket, run_url: S3Url, tmp_path: Path
) -> None:
    """Symptom: the run failed, and its log in the store was empty."""
    log, folder = tmp_path / "log", tmp_path / "run"
    folder.mkdir()
    (folder / "a\nb").write_bytes(b"x")
    log.write_bytes(b"")

    def fails() -> None:
        log.write_bytes(b"error: why")

    mirror = UploadMirror(
        from_environment(), folder, run_url, beside={"log.txt": log}, on_failure=fails
    )
    mirror.start()
    eventually(log.read_bytes)
    with pytest.raises(TrainingError, match="can't have the file"):
        mirror.finish()
    assert bucket.get("runs/1/log.txt") == b"error: why"


def test_the_state_file_of_checkpoints_follows_the_files_it_names(
    bucket: Bucket, run_url: S3Url, tmp_path: Path
) -> None:
    for name in ("step-1.data-00000-of-00001", "step-1.index"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "checkpoint").write_bytes(b'model_checkpoint_path: "step-1"\n')
    client = from_environment()
    order = recorded_puts(client)
    mirror = UploadMirror(client, tmp_path, run_url)
    mirror.start()
    mirror.finish()
    assert order[-1] == "runs/1/checkpoint" and len(order) == 3


def test_a_checkpoint_of_any_name_is_kept(bucket: Bucket, run_url: S3Url, tmp_path: Path) -> None:
    """Symptom: TensorFlow escapes such names, and the state file was never uploaded."""
    saved = tf.train.Checkpoint(value=tf.Variable(1.0))
    manager = tf.train.CheckpointManager(
        saved, str(tmp_path), max_to_keep=1, checkpoint_name="modèle 'a'"
    )
    manager.save()
    mirror = UploadMirror(from_environment(), tmp_path, run_url)
    mirror.start()
    mirror.finish()
    assert bucket.get("runs/1/checkpoint") == (tmp_path / "checkpoint").read_bytes()
    assert len(bucket.listing("runs/1/mod")) == 2


def test_what_is_only_called_like_a_state_file_is_a_file_like_any_other(
    bucket: Bucket, run_url: S3Url, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Symptom: PyTorch's `checkpoint` was read into memory as a whole with each pass, and put when
    half of it was there."""
    file = tmp_path / "checkpoint"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "folder" / "checkpoint")
    file.write_bytes(os.urandom(3 * 2**20))
    read = Path.read_bytes

    def small(path: Path) -> bytes:
        assert path.name != "checkpoint"
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", small)
    mirror = UploadMirror(from_environment(), tmp_path, run_url)
    for _ in range(2):
        mirror.upload()
    whole = read(file)
    assert bucket.get("runs/1/checkpoint") == whole
    with file.open("wb", buffering=0) as half:
        for _ in range(2):
            half.write(os.urandom(2**20 + 1))
            mirror.upload()
            assert bucket.get("runs/1/checkpoint") == whole
    mirror.upload()
    assert bucket.get("runs/1/checkpoint") == read(file)


def test_a_file_in_whose_place_there_is_a_folder_by_then_does_not_end_the_mirror(
    bucket: Bucket, run_url: S3Url, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    for name in ("a/1", "b", "c"):
        (tmp_path / name).write_bytes(b"x")
    mirror = UploadMirror(from_environment(), tmp_path, run_url)
    look = mirror._contents.stamps

    def looked() -> Any:
        found = look()
        shutil.rmtree(tmp_path / "a")
        (tmp_path / "a").write_bytes(b"x")
        (tmp_path / "b").unlink()
        (tmp_path / "b").mkdir()
        return found

    monkeypatch.setattr(mirror._contents, "stamps", looked)
    mirror._rest.ends(None)
    mirror._upload_changes()
    assert bucket.listing() == ["runs/1/c"]


def test_what_was_there_before_a_checkpoint_is_in_the_store_before_it(
    bucket: Bucket, run_url: S3Url, tmp_path: Path
) -> None:
    """A worker that was lost between them left a checkpoint of a run with unknown parameters."""
    client = from_environment()
    order = recorded_puts(client)
    mirror = UploadMirror(client, tmp_path, run_url, interval=0.05)
    Checkpoints(tf.train.Checkpoint(value=tf.Variable(1.0)), tmp_path, {"seed": 1}).save(1)
    mirror.start()
    eventually(lambda: "runs/1/checkpoints/checkpoint" in order)
    assert "runs/1/checkpoints/parameters.json" in order
    assert order[-1] == "runs/1/checkpoints/checkpoint"
    mirror.finish()


def test_a_checkpoint_made_just_before_a_kill_is_kept_with_what_it_needs(
    bucket: Bucket, run_url: S3Url, tmp_path: Path
) -> None:
    """Symptom: a run killed in its first second lost its checkpoint: `parameters.json` is written
    in place, and might have been half a file."""
    Checkpoints(tf.train.Checkpoint(value=tf.Variable(1.0)), tmp_path, {"seed": 1}).save(1)
    folder = tmp_path / "checkpoints"
    (folder / "later.json").write_bytes(b"half a ")
    later = (folder / "checkpoint").stat().st_mtime_ns + 10**8
    os.utime(folder / "later.json", ns=(later, later))
    mirror = UploadMirror(from_environment(), tmp_path, run_url)
    mirror._rest.ends(later / 1e9)
    mirror._upload_changes()
    kept = bucket.listing()
    assert "runs/1/checkpoints/parameters.json" in kept
    assert "runs/1/checkpoints/checkpoint" in kept
    assert "runs/1/checkpoints/later.json" not in kept


def test_checkpoints_of_tensorflow_1_are_found_in_another_folder(
    bucket: Bucket, run_url: S3Url, tmp_path: Path
) -> None:
    """Its `Saver` names them by absolute paths: the state was never uploaded, without a word."""
    here = tmp_path / "modèle"
    here.mkdir()
    mirror = UploadMirror(from_environment(), here, run_url, interval=0.05)
    mirror.start()
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        value = v1.get_variable("value", initializer=7.0)
        session.run(value.initializer)
        saver = v1.train.Saver()
        for step in (1, 2):
            saver.save(session, str(here / "step"), global_step=step)
        mirror.finish()

        there = tmp_path / "elsewhere"
        there.mkdir()
        UploadMirror(from_environment(), there, run_url).fetch(
            {Path(key).name for key in bucket.listing("runs/1/")}
        )
        shutil.rmtree(here)
        latest = tf.train.latest_checkpoint(str(there))
        assert latest == str(there / "step-2")
        saver.restore(session, latest)
        assert session.run(value) == 7.0


def test_a_large_file_arrives_whole(bucket: Bucket, run_url: S3Url, tmp_path: Path) -> None:
    content = bytes(range(256)) * 4 * 2**12 * 20
    (tmp_path / "large").write_bytes(content)
    mirror = UploadMirror(from_environment(), tmp_path, run_url)
    mirror.start()
    mirror.finish()
    assert bucket.get("runs/1/large") == content


def test_a_large_file_that_grows_is_not_sent_again_for_a_little_more(
    bucket: Bucket, run_url: S3Url, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Symptom: an event file of 700 MB went through the network without an end."""
    # However long this test takes, the time is no reason to send it.
    monkeypatch.setattr(upload_mirror, "LATEST_SECONDS", 3600.0)
    log, sign = tmp_path / "log", tmp_path / "sign"
    log.write_bytes(bytes(16 * 2**20))
    mirror = UploadMirror(from_environment(), tmp_path, run_url, interval=0.01)
    mirror.start()

    def size(name: str) -> int:
        return len(bucket.get(f"runs/1/{name}")) if f"runs/1/{name}" in bucket.listing() else -1

    eventually(lambda: size("log") == 16 * 2**20)
    os.truncate(log, 17 * 2**20)
    sign.write_bytes(b"of a later pass")
    eventually(lambda: size("sign") > 0)
    assert size("log") == 16 * 2**20
    # At once: of a write, a pass may see the first part, and what follows it is a little again.
    os.truncate(log, 19 * 2**20)
    eventually(lambda: size("log") == 19 * 2**20)
    with log.open("ab") as growing:
        growing.write(b"the end")
    mirror.finish()
    assert size("log") == 19 * 2**20 + 7


def test_a_store_that_stays_away_fails_the_run_after_retries(
    environment: SeaweedFS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    (tmp_path / "log.txt").write_bytes(b"x")
    told = threading.Event()
    mirror = UploadMirror(
        *(from_environment(), tmp_path, S3Url("b", "p")),
        patience=Patience(1, lambda _: None),
        on_failure=told.set,
    )
    mirror.start()
    assert told.wait(60)
    with pytest.raises(TrainingError, match="Gave up uploading to 's3://b/p'. .*can't be reached"):
        mirror.finish()


def named_in(state: bytes) -> set[str]:
    return {line.split('"')[1] for line in state.decode().splitlines() if "path" in line}


def test_the_state_file_in_the_store_never_names_what_is_not_there(
    bucket: Bucket, environment: SeaweedFS, tmp_path: Path
) -> None:
    """The state was read after its folder was listed: it could name a checkpoint made since."""
    checkpoints = Checkpoints(tf.train.Checkpoint(value=tf.Variable(1.0)), tmp_path, {})
    faults: list[str] = []
    saved = itertools.count(1)

    client = from_environment()
    # All requests are to be seen.
    client.requests = None
    put_object, delete_object = client.s3.put_object, client.s3.delete_object

    def put(**request: Any) -> Any:
        """Saves on during each upload of the log, and looks afterwards whether all is there."""
        # With the log only, of which there is one: no two save side by side.
        if request["Key"].endswith("log.txt"):
            checkpoints.save(next(saved))
        answer = put_object(**request)
        look()
        return answer

    def delete(**request: Any) -> Any:
        answer = delete_object(**request)
        look()
        return answer

    def look() -> None:
        state = "runs/1/checkpoints/checkpoint"
        listing = bucket.listing("runs/1/")
        if state in listing:
            named = named_in(bucket.get(state))
            there = {Path(key).stem for key in bucket.listing("runs/1/") if ".index" in key}
            faults.extend(named - there)

    client.s3.put_object, client.s3.delete_object = put, delete  # type: ignore[method-assign]
    mirror = UploadMirror(client, tmp_path, S3Url(bucket.name, "runs/1"), interval=0.01)
    mirror.start()
    for number in range(12):
        (tmp_path / "log.txt").write_text(f"{number}")
        eventually(partial(log_is, bucket, b"%d" % number))
    mirror.finish()

    assert faults == []
    last = next(saved) - 1
    newest = {f"step-{number}" for number in range(last - 2, last + 1)}
    assert newest == named_in(bucket.get("runs/1/checkpoints/checkpoint"))
    assert newest == {Path(key).stem for key in bucket.listing("runs/1/checkpoints/step-")}


def log_is(bucket: Bucket, text: bytes) -> bool:
    return "runs/1/log.txt" in bucket.listing() and bucket.get("runs/1/log.txt") == text


def test_what_was_fetched_is_not_uploaded_again_and_deleted_when_it_goes(
    bucket: Bucket, environment: SeaweedFS, tmp_path: Path
) -> None:
    for name in ("step-1.index", "step-1.data-00000-of-00001"):
        bucket.put(f"runs/1/checkpoints/{name}", b"1")
    bucket.put("runs/1/events.out.tfevents.1", b"stays there")
    client = from_environment()
    puts = recorded_puts(client)
    mirror = UploadMirror(client, tmp_path, S3Url(bucket.name, "runs/1"))
    assert mirror.fetch({"checkpoints"}) == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == ["checkpoints"]
    (tmp_path / "checkpoints" / "step-1.index").unlink()
    mirror.start()
    mirror.finish()

    assert puts == []
    assert bucket.listing() == [
        "runs/1/checkpoints/step-1.data-00000-of-00001",
        "runs/1/events.out.tfevents.1",
    ]


@pytest.fixture
def as_a_user() -> Iterator[None]:
    """Take from this thread, and from those that it starts, what lets root read every file.

    `CAP_DAC_OVERRIDE` and `CAP_DAC_READ_SEARCH` of capabilities(7); a user has neither.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    effective = sets[0]
    sets[0] = effective & ~0b110
    assert libc.capset(header, sets) == 0
    yield
    sets[0] = effective
    assert libc.capset(header, sets) == 0


@pytest.mark.usefixtures("as_a_user")
def test_what_cannot_be_read_keeps_nothing_else_back_and_fails_the_run_at_its_end(
    bucket: Bucket, run_url: S3Url, tmp_path: Path
) -> None:
    """Symptom: for half an hour nothing was uploaded, no log either, and then the run failed."""
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    (folder / "one").write_bytes(b"1")
    file.write_bytes(b"first")
    lines: list[str] = []
    mirror = UploadMirror(from_environment(), tmp_path, run_url, interval=0.05, say=lines.append)
    mirror.start()
    eventually(lambda: bucket.listing() == ["runs/1/file", "runs/1/folder/one"])
    file.write_bytes(b"second")
    file.chmod(0)
    folder.chmod(0)
    (tmp_path / "log").write_bytes(b"goes on")
    eventually(lambda: "runs/1/log" in bucket.listing())
    eventually(lambda: any("Not allowed to read 'folder'" in line for line in lines))
    file.chmod(0o600)
    try:
        with pytest.raises(TrainingError, match="Not allowed to read 'folder'"):
            mirror.finish()
    finally:
        folder.chmod(0o700)
    assert bucket.get("runs/1/file") == b"second"
    # What the store has of it stays, and it is told once.
    assert bucket.get("runs/1/folder/one") == b"1"
    assert len([line for line in lines if "'folder'" in line]) == 1


def test_a_folder_that_is_a_link_to_another_place_is_told_once(
    bucket: Bucket, run_url: S3Url, tmp_path: Path
) -> None:
    """Symptom: what was written there was lost without a word."""
    output, elsewhere = tmp_path / "output", tmp_path / "elsewhere"
    for folder in (output / "inside", output / "model", elsewhere):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"x")
    (output / "latest").symlink_to("inside")
    (output / "linked").symlink_to(elsewhere)
    (output / "model" / "assets").symlink_to(elsewhere)
    lines: list[str] = []
    mirror = UploadMirror(
        *(from_environment(), output, run_url), exclude=frozenset({"model"}), say=lines.append
    )
    mirror.upload()
    mirror.start()
    mirror.finish()
    assert lines == [f"'linked' is a link to '{elsewhere}': what is there is not kept."]
    assert bucket.listing() == ["runs/1/inside/file"]
