"""The agent while its store is away, hangs, or takes nothing, and while its disk is full.

Stores and disks are real ones, of these tests alone.
"""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.seaweedfs import SeaweedFS
from tests.store_gate import Gate
from tests.training.agent.test_run import boot
from tests.training.conftest import Bucket, new_bucket, read_until
from tests.waiting import eventually
from training.agent.disk import NOTE_FILE, Disk
from training.agent.flags import agent_parser
from training.agent.run import Agent
from training.agent.termination import Terminated
from training.command_line import TrainingError

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a file system")


@pytest.fixture(scope="module")
def own_store() -> Iterator[SeaweedFS]:
    """A store that only these tests disturb."""
    with SeaweedFS() as store:
        yield store


@pytest.fixture
def job(own_store: SeaweedFS) -> Iterator[Bucket]:
    with new_bucket(own_store) as bucket:
        bucket.put("data/numbers.txt", b"1 2 3")
        boot(bucket, "finish(0.9)")
        yield bucket


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of so many bytes."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_whatever_is_asked_is_asked_until_the_job_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Symptom: what was asked first after the training waited for a whole `timeout` once more, and
    the Job's end came without a reason."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    urls = [f"--{name}_url=s3://bucket/{name}" for name in ("code", "data", "train", "model")]
    flags = [*urls, "--boot_file=a.py", f"--run_hash={64 * '0'}", "--timeout_seconds=1000"]
    agent = Agent(agent_parser().parse_args(flags), [])
    agent._began -= 900
    until = agent._until_the_end(0)._until
    assert until is not None and 20 < until - time.monotonic() <= 80


@pytest.mark.timeout(400)
def test_a_store_that_is_away_in_the_middle_is_said_and_caught_up_with(
    own_store: SeaweedFS, job: Bucket, tmp_path: Path
) -> None:
    """Symptom: a minute without the store ended a training of days."""
    sign = tmp_path / "back"
    boot(
        job,
        "import pathlib\n(output / 'first').write_text('1')\nprint('step 1', flush=True)\n"
        f"while not pathlib.Path({str(sign)!r}).exists(): time.sleep(0.05)\n"
        "(output / 'checkpoints').mkdir()\n(output / 'checkpoints/2').write_text('2')\n"
        "print('step 2', flush=True)\ntime.sleep(0.5)\nfinish(0.9)",
    )
    with job.start(job.agent(timeout_seconds="300")) as process:
        read_until(process, "step 1")
        own_store.kill()
        said = read_until(process, "Can't ")
        assert "can't be reached" in said
        # Until shortly before the end of the Job.
        assert 200 < int(re.findall(r"Trying again for (\d+) s", said)[0]) <= 294
        sign.write_text("")
        read_until(process, "step 2")
        # The training is over, and the store is still away.
        read_until(process, "Ran boot file")
        own_store.start_again()
        output, errors = process.communicate(timeout=100)
    assert (process.returncode, errors) == (0, "")
    assert "The object store answers again, after " in output
    assert "Published version 1" in output
    log = job.get("runs/1/log.txt").decode()
    assert "step 1" in log and "can't be reached" in log and "Published version 1" in log
    assert {"runs/1/first", "runs/1/checkpoints/2"} <= set(job.listing("runs/1/"))


@pytest.mark.timeout(400)
def test_only_the_last_upload_fails_the_job_and_says_why_before_its_time_is_over(
    own_store: SeaweedFS, job: Bucket, tmp_path: Path
) -> None:
    sign = tmp_path / "away"
    boot(
        job,
        "import pathlib\nprint('step 1', flush=True)\n"
        f"while not pathlib.Path({str(sign)!r}).exists(): time.sleep(0.05)\n"
        "print('step 2')\nfinish(0.9)",
    )
    began = time.monotonic()
    with job.start(job.agent(timeout_seconds="30")) as process:
        try:
            read_until(process, "step 1")
            own_store.kill()
            sign.write_text("")
            output, errors = process.communicate(timeout=100)
        finally:
            own_store.start_again()
    assert process.returncode == 1
    assert "step 2\n" in output
    assert "can't be reached" in errors.splitlines()[0]
    assert "error: Gave up uploading to 's3://" in errors
    # The longest pause between two tries is 10 s.
    assert time.monotonic() - began > 18


def test_a_store_that_hangs_at_the_start_is_said_within_seconds(
    own_store: SeaweedFS, job: Bucket
) -> None:
    own_store.hang()
    try:
        with job.start(job.agent()) as process:
            said = read_until(process, "Waiting for the object store at ")
            own_store.go_on()
            process.communicate(timeout=100)
    finally:
        own_store.go_on()
    (seconds,) = re.findall(f"'{own_store.endpoint}': ([0-9]+) s so far", said)
    assert 5 <= int(seconds) < 30
    assert process.returncode == 0


def test_a_store_that_may_only_be_read_is_refused_before_anything_is_fetched(job: Bucket) -> None:
    done = job.run(job.agent(), {"AWS_ACCESS_KEY_ID": job.store.reader_key})
    assert done.returncode == 1
    assert "refused access" in done.stderr and done.stderr.count("\n") == 1
    assert "Fetched" not in done.stdout


@pytest.mark.slow
def test_a_slow_store_is_said_and_all_goes_on_to_the_end(own_store: SeaweedFS, job: Bucket) -> None:
    """Symptom: 3 s for a connection were the time for a whole file as well, sent twice."""
    job.put("data/some", os.urandom(3_000_000))
    boot(
        job,
        "import os\n(output / 'large').write_bytes(os.urandom(8_000_000))\nfinish(0.9)",
    )
    with Gate(own_store) as gate:
        gate.open()
        gate.bytes_per_second = 200_000
        done = job.run(job.agent(timeout_seconds="600"), {"AWS_ENDPOINT_URL_S3": gate.url})
    assert (done.returncode, done.stderr) == (0, "")
    assert "Fetching dlstack:dataDir: " in done.stdout
    # After 30 s; on a busy machine the thread that says so comes later.
    assert re.search(
        f"Uploading to '{job.url('runs/1')}' takes long: [3-9]\\d s so far", done.stdout
    )
    assert "Published version 1" in done.stdout
    assert len(job.get("runs/1/large")) == 8_000_000


@needs_root
def test_data_that_has_no_room_is_refused_before_it_is_fetched(job: Bucket, tmp_path: Path) -> None:
    for number in range(3):
        job.put(f"data/{number}", bytes(2**20))
    with small_disk(tmp_path / "disk", "2m") as disk:
        done = job.run(job.agent(work_dir=str(disk)))
    assert done.returncode == 1
    error = done.stderr
    assert "error: dlstack:dataDir: No room at " in error
    assert " has 3.1 MB, and of the disk's 2.1 MB " in error
    assert "Give dlstack:flavour a bigger disk (dlstack:flavours)" in error
    assert error.count("\n") == 1
    # Who looks later is told, too.
    assert error in job.get("runs/1/log.txt").decode()
    assert json.loads(job.get("runs/1/run.json"))["state"] == "failed"


@needs_root
def test_a_boot_file_that_fails_on_a_full_disk_leaves_a_log_that_says_so(
    job: Bucket, tmp_path: Path
) -> None:
    job.put("data/some", bytes(2**20))
    boot(job, "(output / 'fill').write_bytes(bytes(2**23))")
    with small_disk(tmp_path / "disk", "4m") as disk:
        done = job.run(job.agent(work_dir=str(disk)))
    assert done.returncode == 1
    assert "No space left on device" in done.stdout
    assert "error: The disk of the pod is full: of 4.2 MB at " in done.stderr
    assert "code and data take 1.0 MB" in done.stderr
    assert "The disk of the pod is full" in json.loads(job.get("runs/1/run.json"))["cause"]
    assert "The disk of the pod is full" in job.get("runs/1/log.txt").decode()


def test_pods_that_were_ended_for_their_nodes_disk_are_not_followed_by_more(job: Bucket) -> None:
    """Symptom: an eviction, and 100 GB were fetched again, until the Job's time was over."""
    note = {"ends": 1, "free": 10**9, "total": 10**11, "fetched": 9 * 10**10, "told": True}
    job.put(f"runs/1/{NOTE_FILE}", json.dumps(note).encode())
    done = job.run(job.agent())
    assert done.returncode == 1
    assert (
        "error: 2 pods of this run were ended within seconds while the disk of their node was "
        "nearly full (1.0 GB of 100.0 GB were free), after each had fetched 90.0 GB." in done.stderr
    )
    assert "Fetched" not in done.stdout
    # The next `up` tries again.
    assert f"runs/1/{NOTE_FILE}" not in job.listing("runs/1/")


def test_a_run_that_writes_more_than_its_flavours_disk_fails_and_says_so(
    job: Bucket, tmp_path: Path
) -> None:
    """Symptom: Kubernetes ended the pod, and another one, and the next."""
    boot(job, "(output / 'events').write_bytes(b'1' * 30_000_000)\nprint('full')\ntime.sleep(600)")
    done = job.run(job.agent(work_dir=str(tmp_path / "work"), disk_bytes="20000000"))
    assert done.returncode == 1
    assert "and dlstack:flavour has a disk of 20.0 MB: Kubernetes ends such a pod" in done.stderr
    record = json.loads(job.get("runs/1/run.json"))
    assert record["state"] == "failed" and "a disk of 20.0 MB" in record["cause"]


def test_a_pod_that_was_ended_for_what_it_wrote_is_not_followed_by_another(
    job: Bucket, tmp_path: Path
) -> None:
    """It was told to end before it had counted: 143 would begin another pod, at no charge."""
    boot(
        job,
        "(output / 'events').write_bytes(b'1' * 30_000_000)\nprint('told', flush=True)\n"
        "os.kill(os.getppid(), signal.SIGTERM)\ntime.sleep(600)",
    )
    done = job.run(job.agent(work_dir=str(tmp_path / "work"), disk_bytes="20000000"))
    assert done.returncode == 1
    assert "dlstack:flavour has a disk of 20.0 MB" in done.stderr
    assert json.loads(job.get("runs/1/run.json"))["state"] == "failed"


class TestADisk:
    """What is known of it, on a real one."""

    @staticmethod
    def disk(folder: Path, said: list[str], stopped: list[bool], large_bytes: int = 1) -> Disk:
        return Disk(
            *(folder, folder.parent / NOTE_FILE, said.append, lambda: stopped.append(True)),
            full_seconds=0.1,
            large_bytes=large_bytes,
        )

    @needs_root
    def test_that_stays_full_ends_the_run_within_seconds(self, tmp_path: Path) -> None:
        said: list[str] = []
        stopped: list[bool] = []
        with small_disk(tmp_path / "disk", "1m") as folder:
            disk = self.disk(folder, said, stopped)
            disk.start()
            disk.check()
            with pytest.raises(OSError, match="No space left"):
                (folder / "fill").write_bytes(bytes(2**21))
            eventually(lambda: stopped)
            with pytest.raises(TrainingError, match="The disk of the pod is full"):
                disk.check()
            disk.ends()
        assert stopped == [True]
        assert len(said) == 1 and "is full. If it stays so for 0.1 s, the run ends." in said[0]

    @needs_root
    def test_that_is_nearly_full_is_noted_until_the_agent_ends(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        note = tmp_path / NOTE_FILE
        looked: list[Disk] = []
        look = Disk._look_whether_evicting

        def seen(disk: Disk) -> None:
            look(disk)
            looked.append(disk)

        monkeypatch.setattr(Disk, "_look_whether_evicting", seen)
        with small_disk(tmp_path / "disk", "20m") as folder:
            (folder / "fill").write_bytes(bytes(18 * 2**20))
            for large_bytes, told_to, stays in (
                (10**9, True, False),
                (1, False, False),
                (1, True, True),
            ):
                disk = self.disk(folder, [], [], large_bytes)
                disk.fetches(1000)
                disk.start()
                eventually(lambda disk=disk: disk in looked)
                assert note.exists() == (large_bytes == 1)
                kept: list[bytes] = []
                (disk.told_to_end(kept.append) if told_to else disk.ends())
                assert note.exists() == stays
                eventually(lambda kept=kept, stays=stays: bool(kept) == stays)
            assert json.loads(kept[0])["told"] is True
            # One pod may end like this, and the note of the next one counts it.
            disk = self.disk(folder, [], [])
            disk.require_another_try()
            disk.fetches(1000)
            disk.start()
            eventually(lambda: disk in looked)
            disk.told_to_end(kept.append)
            with pytest.raises(TrainingError, match="2 pods of this run were ended"):
                self.disk(folder, [], []).require_another_try()
        assert not note.exists()

    @needs_root
    def test_a_pod_that_is_alive_after_its_sigterm_was_not_evicted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Symptom: of a node that a cloud takes back, twice, the run was ended for ever."""
        monkeypatch.setattr("training.agent.disk._EVICTED_SECONDS", 0.2)
        with small_disk(tmp_path / "disk", "20m") as folder:
            (folder / "fill").write_bytes(bytes(18 * 2**20))
            disk = self.disk(folder, [], [])
            disk.fetches(1000)
            disk.start()
            eventually((tmp_path / NOTE_FILE).exists)
            disk.told_to_end(lambda _: None)
            began = time.monotonic()
            # There is not the time to find out.
            assert disk.was_spared(began, began + 0.1) is False
            assert disk.was_spared(began, began + 30) is True
            assert disk.was_spared(began, began + 30) is False
            assert not (tmp_path / NOTE_FILE).exists()

    def test_a_note_goes_after_it_has_come(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Symptom: a slow store got it after it was deleted there, and the next pod counted it."""
        monkeypatch.setattr("training.agent.disk._EVICTED_SECONDS", 0.1)
        (tmp_path / NOTE_FILE).write_text("{}")
        kept: list[bytes] = []

        def keep(content: bytes) -> None:
            time.sleep(1)
            kept.append(content)

        disk = self.disk(tmp_path / "disk", [], [])
        disk.told_to_end(keep)
        began = time.monotonic()
        assert disk.was_spared(began, began + 60)
        assert kept

    def test_a_pod_that_was_not_told_to_end_was_not_evicted(self, tmp_path: Path) -> None:
        """Symptom: two pods without memory on a full node, and the run was ended for its disk."""
        note = {"ends": 1, "free": 10**9, "total": 10**11, "fetched": 9 * 10**10}
        (tmp_path / NOTE_FILE).write_text(json.dumps(note))
        (tmp_path / "disk").mkdir()
        self.disk(tmp_path / "disk", [], []).require_another_try()
        assert not (tmp_path / NOTE_FILE).exists()


def test_a_pod_of_a_node_that_is_taken_back_leaves_no_note(
    own_store: SeaweedFS, job: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a nearly full disk, and its whole grace."""
    monkeypatch.setattr("training.agent.disk._EVICTED_SECONDS", 0.5)
    monkeypatch.setattr(os, "environ", {**os.environ, **own_store.environment()})
    key, note = f"runs/1/{NOTE_FILE}", tmp_path / NOTE_FILE
    agent = Agent(agent_parser().parse_args(job.agent()[3:]), [])
    kept: list[bytes] = []
    keep = agent._keep_note

    def noted(url: Any, content: bytes) -> None:
        keep(url, content)
        kept.append(job.get(key))

    monkeypatch.setattr(agent, "_keep_note", noted)
    note.write_text(json.dumps({"ends": 0, "free": 1, "total": 10, "fetched": 10**10}))
    agent._disk = Disk(tmp_path, note, print, lambda: None)
    agent._stop_in_time(Terminated(signal.SIGTERM), "")
    # So a pod that is evicted leaves it.
    assert json.loads(kept[0])["told"] is True
    assert key not in job.listing("runs/1/") and not note.exists()
