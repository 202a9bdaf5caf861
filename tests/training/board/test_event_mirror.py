"""Event files of the store are copied for TensorBoard, which keeps them open."""

import signal
import sys
from pathlib import Path

import pytest

from store.client import from_environment
from store.objects import write
from store.parallel import in_parallel
from store.urls import S3Url
from tests.seaweedfs import SeaweedFS
from tests.store_gate import Gate
from tests.training.conftest import Bucket, eventually
from training.board.event_mirror import EventMirror

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
