"""Event files of the store are copied for TensorBoard, which keeps them open."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from store.client import from_environment
from store.errors import NoRoom
from store.objects import write
from store.parallel import in_parallel
from store.urls import S3Url
from tests.seaweedfs import SeaweedFS
from tests.store_gate import Gate
from tests.training.conftest import Bucket
from tests.waiting import eventually
from training.board.event_mirror import EventMirror
from training.board.hparams import EVENT_FILE

EVENTS = "events.out.tfevents.1"


@pytest.fixture
def run_url(bucket: Bucket, environment: SeaweedFS) -> S3Url:
    return S3Url(bucket.name, "runs/1")


def test_an_event_file_that_grows_is_appended_to_and_never_replaced(
    bucket: Bucket, run_url: S3Url, tmp_path: Path
) -> None:
    mirror = EventMirror(from_environment(), run_url, tmp_path)
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
    assert EventMirror(from_environment(), run_url, tmp_path).refresh() == 6
    assert (tmp_path / EVENTS).read_bytes() == b"first second"


def test_another_file_of_the_same_name_replaces_the_copy_and_a_deleted_one_goes(
    bucket: Bucket, run_url: S3Url, tmp_path: Path
) -> None:
    mirror = EventMirror(from_environment(), run_url, tmp_path)
    bucket.put(f"runs/1/a/{EVENTS}", b"first")
    mirror.refresh()
    bucket.put(f"runs/1/a/{EVENTS}", b"other")
    mirror.refresh()
    assert (tmp_path / "a" / EVENTS).read_bytes() == b"other"
    bucket.client.delete_object(Bucket=bucket.name, Key=f"runs/1/a/{EVENTS}")
    mirror.refresh()
    assert not (tmp_path / "a" / EVENTS).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a file system of its own")
def test_what_has_no_room_does_not_keep_the_rest_from_tensorboard(
    bucket: Bucket, run_url: S3Url, tmp_path: Path
) -> None:
    """Symptom otherwise: the disk was full, and nothing was shown any more."""
    bucket.put(f"runs/1/a/{EVENTS}", bytes(17 * 2**20))
    bucket.put(f"runs/1/b/{EVENTS}", b"first")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
    try:
        with pytest.raises(NoRoom, match="has 17.8 MB, and of the disk's 1.0 MB"):
            EventMirror(from_environment(), run_url, disk).refresh()
        assert (disk / "b" / EVENTS).read_bytes() == b"first"
    finally:
        subprocess.run(["umount", disk], check=True)


def record(state: str = "running", **more: object) -> bytes:
    document = {
        "format": 1,
        "model_name": "toy",
        "started": "2026-03-01T10:00:00Z",
        "parameters": {"rate": "1"},
        "state": state,
        **more,
    }
    return json.dumps(document).encode()


NAME = "2026-03-01 10:00Z toy aaaaaa rate=1"


def test_a_run_gets_its_name_when_it_has_a_record_and_is_not_fetched_again(
    bucket: Bucket, environment: SeaweedFS, tmp_path: Path
) -> None:
    mirror = EventMirror(from_environment(), S3Url(bucket.name, "runs"), tmp_path)
    bucket.put(f"runs/aaaaaaa/{EVENTS}", b"first")
    bucket.put(f"runs/of-an-earlier-dlstack/{EVENTS}", b"first")
    assert mirror.refresh() == 10
    inode = (tmp_path / "aaaaaaa" / EVENTS).stat().st_ino
    bucket.put("runs/aaaaaaa/run.json", record())
    assert mirror.refresh() == len(record())
    assert (tmp_path / NAME / EVENTS).stat().st_ino == inode
    assert {one.name for one in tmp_path.iterdir()} == {NAME, "of-an-earlier-dlstack"}

    # It fails, goes on, and ends.
    failed = record("failed", ended="2026-03-01T10:01:00Z")
    bucket.put("runs/aaaaaaa/run.json", failed)
    assert mirror.refresh() == len(failed)
    assert (tmp_path / f"{NAME} (failed)" / EVENTS).stat().st_ino == inode
    bucket.put("runs/aaaaaaa/run.json", record())
    mirror.refresh()
    beginning = (tmp_path / NAME / EVENT_FILE).read_bytes()
    with (tmp_path / NAME / EVENT_FILE).open("rb") as reader:
        assert reader.read() == beginning
        ended = record("succeeded", ended="2026-03-01T10:02:00Z", metrics={"accuracy": 0.5})
        bucket.put("runs/aaaaaaa/run.json", ended)
        mirror.refresh()
        assert b"metrics/accuracy" in reader.read()
    assert mirror.refresh() == 0
    # A mirror that is started anew finds the names as they are.
    again = EventMirror(from_environment(), S3Url(bucket.name, "runs"), tmp_path)
    assert again.refresh() == len(ended)
    assert (tmp_path / NAME / EVENTS).stat().st_ino == inode

    bucket.client.delete_object(Bucket=bucket.name, Key="runs/aaaaaaa/run.json")
    bucket.client.delete_object(Bucket=bucket.name, Key=f"runs/aaaaaaa/{EVENTS}")
    mirror.refresh()
    assert {one.name for one in tmp_path.iterdir()} == {"of-an-earlier-dlstack"}


@pytest.mark.parametrize("content", [b"", b"[1, 2", b"[]", b'{"format": 1}', b"\xff"])
def test_what_is_no_record_changes_nothing(
    bucket: Bucket, environment: SeaweedFS, tmp_path: Path, content: bytes
) -> None:
    mirror = EventMirror(from_environment(), S3Url(bucket.name, "runs"), tmp_path)
    bucket.put("runs/aaaaaaa/run.json", content)
    bucket.put(f"runs/aaaaaaa/{EVENTS}", b"first")
    mirror.refresh()
    assert (tmp_path / "aaaaaaa" / EVENTS).read_bytes() == b"first"


def test_files_of_profiler_and_projector_are_copied_and_no_others(
    bucket: Bucket, environment: SeaweedFS, tmp_path: Path
) -> None:
    mirror = EventMirror(from_environment(), S3Url(bucket.name, "runs"), tmp_path)
    profile, config = "plugins/profile/1/host.xplane.pb", "projector_config.pbtxt"
    bucket.put(f"runs/a/{profile}", b"profile")
    bucket.put(f"runs/a/{config}", b'embeddings { metadata_path: "words.tsv" }')
    bucket.put("runs/a/words.tsv", b"words")
    bucket.put("runs/a/other.tsv", b"other")
    bucket.put("runs/a/checkpoints/step-5.index", b"index")
    mirror.refresh()
    assert mirror.refresh() == 0
    files = {one.relative_to(tmp_path).as_posix() for one in tmp_path.rglob("*") if one.is_file()}
    assert files == {f"a/{profile}", f"a/{config}", "a/words.tsv"}
    assert (tmp_path / "a" / config).read_text() == (
        f'embeddings {{ metadata_path: "{tmp_path}/a/words.tsv" }}'
    )
    # Written anew, longer: not an event file, so not appended to.
    bucket.put("runs/a/words.tsv", b"other words")
    mirror.refresh()
    assert (tmp_path / "a" / "words.tsv").read_bytes() == b"other words"


def test_a_large_file_is_never_in_memory_as_a_whole(bucket: Bucket, tmp_path: Path) -> None:
    """The sidecar has 512 MiB; event files with pictures, and profiles, may have more."""
    bucket.put(f"runs/1/{EVENTS}", bytes(300 * 2**20))
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from store.client import from_environment; from store.urls import S3Url\n"
        "from training.board.event_mirror import EventMirror\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "mirror = EventMirror(from_environment(), S3Url(sys.argv[1], 'runs'), Path(sys.argv[2]))\n"
        "print(mirror.refresh(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    done = bucket.run([sys.executable, "-c", program, bucket.name, str(tmp_path)])
    assert done.returncode == 0, done.stderr
    fetched, kibibytes = map(int, done.stdout.split())
    assert fetched == 300 * 2**20 and kibibytes < 100 * 2**10


def test_an_idle_mirror_makes_one_list_call_an_interval_and_no_other_request(
    bucket: Bucket, run_url: S3Url, tmp_path: Path
) -> None:
    requests: list[str] = []
    client = from_environment()
    client.s3.meta.events.register(
        "before-send.s3.*", lambda request, **_: requests.append(request.url)
    )
    mirror = EventMirror(client, run_url, tmp_path)
    bucket.put(f"runs/1/{EVENTS}", b"first")
    fetched = mirror.refresh()
    assert len(requests) == 2
    assert mirror.pause_after(fetched, 5) == 5
    requests.clear()
    for _ in range(3):
        assert mirror.pause_after(mirror.refresh(), 5) == 5
    assert len(requests) == 3 and all("list-type=2" in url for url in requests)

    # More than fit in one answer: twice the calls, half as often, until something happens.
    in_parallel(lambda number: write(client, run_url / f"file-{number}", b""), range(1000))
    requests.clear()
    assert mirror.pause_after(mirror.refresh(), 5) == 10
    assert len(requests) == 2
    bucket.put(f"runs/1/{EVENTS}", b"first second")
    assert mirror.pause_after(mirror.refresh(), 5) == 5


def mirror_command(bucket: Bucket, target: Path, seconds: float = 0.1) -> list[str]:
    return [
        *(sys.executable, "-m", "training", "mirror"),
        *(f"--source_url={bucket.url('runs')}", f"--target_dir={target}"),
        f"--interval_seconds={seconds}",
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
        process.terminate()
        assert process.communicate()[1] == ""
    # In the middle of a pause that is longer than this test.
    copy = tmp_path / "other" / "1" / EVENTS
    with bucket.start(mirror_command(bucket, tmp_path / "other", 3600)) as process:
        eventually(copy.exists)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert process.communicate()[1] == ""


def test_the_mirror_command_warns_once_of_a_store_that_is_away_and_goes_on_when_it_is_back(
    bucket: Bucket, tmp_path: Path
) -> None:
    bucket.put(f"runs/1/{EVENTS}", b"first")
    with (
        Gate(bucket.store) as gate,
        bucket.start(
            mirror_command(bucket, tmp_path), {"AWS_ENDPOINT_URL_S3": gate.url}
        ) as process,
    ):
        assert process.stderr is not None and process.stdout is not None
        assert "can't be reached" in process.stderr.readline()
        gate.open()
        assert "The object store answers again\n" in iter(process.stdout.readline, "")
        eventually((tmp_path / "1" / EVENTS).exists)
        process.terminate()
        assert process.communicate()[1] == ""
