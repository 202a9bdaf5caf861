"""What agents do when a worker is lost or fails: rounds of boot files that train a real model."""

import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest

from tests.seaweedfs import SeaweedFS
from tests.training.conftest import Bucket, read_until
from tests.training.toy_run import await_checkpoint, last_variables
from tests.training.toy_workers import DISTRIBUTED_BOOT, chief_address, ends, start_worker, weights
from tests.waiting import eventually
from training.agent.membership import INDEX_VARIABLE


@pytest.fixture
def job(bucket: Bucket) -> Bucket:
    bucket.put("data/none", b"-")
    bucket.put("code/boot.py", DISTRIBUTED_BOOT.encode())
    return bucket


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def await_stop(pid: int) -> None:
    """Return when no thread of a process runs any more: after SIGSTOP each stops by itself."""

    def is_stopped(thread: Path) -> bool:
        try:
            # The name before it may have any characters.
            return (thread / "stat").read_text().rpartition(") ")[2].startswith("T")
        except (FileNotFoundError, ProcessLookupError):
            # It has ended meanwhile.
            return True

    eventually(lambda: all(map(is_stopped, Path(f"/proc/{pid}/task").iterdir())))


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("lost", "how"),
    [(0, signal.SIGKILL), (1, signal.SIGTERM)],
    ids=["the first is killed", "another is told to end"],
)
def test_a_lost_worker_stops_the_others_which_go_on_with_it_from_the_checkpoint(
    job: Bucket, environment: SeaweedFS, tmp_path: Path, lost: int, how: signal.Signals
) -> None:
    """Killed are all its processes, as with a pod that is deleted, or whose machine is gone."""
    chief = chief_address()
    workers = [start_worker(job, index, chief, "--hold_at=65") for index in range(2)]
    before = read_until(workers[0], "holding")
    await_checkpoint(job, 60)
    gone = workers[lost]
    if how == signal.SIGKILL:
        # An agent that still runs would see the end of its boot file, and tell the others of it.
        gone.send_signal(signal.SIGSTOP)
        await_stop(gone.pid)
        for child in children(gone.pid):
            os.killpg(child, signal.SIGKILL)
    gone.send_signal(how)
    assert gone.wait(60) == (143 if how == signal.SIGTERM else -9)
    # The other one is still there, and waits.
    read_until(workers[1 - lost], f"Worker {lost} is gone. Going on from the last checkpoint when")
    assert workers[1 - lost].poll() is None
    again = job.start(gone.args, {INDEX_VARIABLE: str(lost)})
    for one in (gone.stdout, gone.stderr):
        assert one is not None
        one.close()
    workers[lost] = again
    outcomes = ends(workers)
    assert [status for *_, status in outcomes] == [0, 0], outcomes
    assert "Going on from the checkpoint of step 60\nstep 70/100 " in outcomes[0][0], before
    assert np.array_equal(
        weights(job, "runs/1", tmp_path), weights(job, "runs/1/workers/1", tmp_path)
    )
    assert last_variables(job, "runs/1", tmp_path / "last")
    assert not job.listing("models/toy/2/")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_boot_file_that_fails_ends_its_worker_and_not_the_others(job: Bucket) -> None:
    """Which of them began is known, whatever TensorFlow does to the others' boot files."""
    job.put("code/boot.py", DISTRIBUTED_BOOT.replace("signal.pause()", "os._exit(9)").encode())
    chief = chief_address()
    first = start_worker(job, 0, chief, "--hold_at=65")
    # It listens: the other one need not wait for it, but when it is gone.
    read_until(first, "Fetched code and data")
    # So long it also waits for the first round, on a machine that may stand still for seconds.
    second = start_worker(job, 1, chief, "--hold_at=65", join_seconds="12")
    outcomes = ends([first, second])
    assert [status for *_, status in outcomes] == [9, 1]
    assert "boot file 'boot.py' exited with status 9" in outcomes[0][0]
    assert "Worker 0 ended with status 9, its log tells why. Going on" in outcomes[1][0]
    said = r"error: Worker 0, asked at '[^']+', had not gathered all workers within 12 s\."
    assert re.search(said, outcomes[1][1])
    assert not job.listing("models/")
