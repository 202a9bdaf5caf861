"""Two workers train one model: two agents on this machine, and the boot files that they start."""

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.seaweedfs import SeaweedFS
from tests.training.conftest import Bucket, eventually
from tests.training.test_resume import BOOT, last_variables
from training.agent.workers import INDEX_VARIABLE
from training.command_line import TrainingError
from training.tf_config import Cluster

Worker = subprocess.Popen[str]

#: Leaves each worker's weights where the test finds them, and drops no units: each worker would
#: drop others than a single one does.
DISTRIBUTED_BOOT = (
    BOOT.replace("layers.Dropout(0.2),", "")
    .replace(
        "        run(\n",
        """        import pathlib
        built = []
        def remembered():
            built.append(model())
            return built[0]
        run(
""",
    )
    .replace("model_fn=model,", "model_fn=remembered,")
    .replace(
        "    return 0\n",
        """        trained = built[0].module.trainable_variables
        weights = np.concatenate([one.numpy().ravel() for one in trained])
        np.save(pathlib.Path(options.train_url) / "weights.npy", weights)
    return 0
""",
    )
)


def start_workers(job: Bucket, count: int, *arguments: str, **options: str) -> list[Worker]:
    """Start the agents of all workers, which meet at a port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        chief = f"127.0.0.1:{one.getsockname()[1]}"
    command = job.agent(*arguments, workers=str(count), chief=chief, **options)
    return [job.start(command, {INDEX_VARIABLE: str(index)}) for index in range(count)]


def ends(workers: Sequence[Worker]) -> list[tuple[str, str, int]]:
    """Output, errors and exit status of each."""
    found = []
    for worker in workers:
        with worker:
            try:
                output, errors = worker.communicate(timeout=110)
            finally:
                worker.kill()
        found.append((output, errors, worker.returncode))
    return found


@pytest.fixture
def job(bucket: Bucket) -> Bucket:
    bucket.put("data/none", b"-")
    bucket.put("code/boot.py", DISTRIBUTED_BOOT.encode())
    return bucket


def weights(
    bucket: Bucket, prefix: str, folder: Path
) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    file = folder / "weights.npy"
    file.write_bytes(bucket.get(f"{prefix}/weights.npy"))
    found: np.ndarray[tuple[int], np.dtype[np.float32]] = np.load(file)
    return found


@pytest.mark.slow
def test_two_workers_end_with_the_same_weights_and_as_one_does(
    job: Bucket, environment: SeaweedFS, tmp_path: Path
) -> None:
    outcomes = ends(start_workers(job, 2))
    assert [status for *_, status in outcomes] == [0, 0], outcomes
    alone = job.run(
        job.agent(
            run_hash="1" * 64, train_url=job.url("runs/alone"), model_url=job.url("models/alone")
        )
    )
    assert alone.returncode == 0, alone.stderr

    assert "shared by 2 replicas" in outcomes[0][0]
    assert "step 100/100" in outcomes[0][0] and "step 100/100" not in outcomes[1][0]
    assert "Worker 1 is done; worker 0 has published the model" in outcomes[1][0]
    # Worker 1 leaves nothing in the run's folder, and no second version.
    assert {"runs/1/workers/1/log.txt", "runs/1/workers/1/weights.npy"} == set(
        job.listing("runs/1/workers/")
    )
    assert not job.listing("models/toy/2/")

    first = weights(job, "runs/1", tmp_path)
    assert np.array_equal(first, weights(job, "runs/1/workers/1", tmp_path))
    assert first == pytest.approx(weights(job, "runs/alone", tmp_path), abs=1e-3)
    ours, theirs = (
        json.loads(job.get(f"models/{name}/1/manifest.json"))["metrics"]["accuracy"]
        for name in ("toy", "alone")
    )
    assert ours == pytest.approx(theirs, abs=0.005)


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def await_checkpoint(job: Bucket, step: int) -> None:
    """Return when the checkpoint is in the bucket: what is left of a worker that is lost."""
    state = "runs/1/checkpoints/checkpoint"
    eventually(lambda: state in job.listing() and b'path: "step-%d"' % step in job.get(state))


def held(worker: Worker) -> str:
    """Read on until the boot file holds; return the output."""
    assert worker.stdout is not None
    read: list[str] = []
    for line in worker.stdout:
        read.append(line)
        if line.startswith("holding"):
            break
    return "".join(read)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lost", "how"),
    [(0, signal.SIGKILL), (1, signal.SIGTERM)],
    ids=["the first is killed", "another is told to end"],
)
def test_a_lost_worker_stops_the_others_which_go_on_with_it_from_the_checkpoint(
    job: Bucket, environment: SeaweedFS, tmp_path: Path, lost: int, how: signal.Signals
) -> None:
    """Killed are all its processes, as with a pod that is deleted, or whose machine is gone."""
    workers = start_workers(job, 2, "--hold_at=65")
    before = held(workers[0])
    await_checkpoint(job, 60)
    gone = workers[lost]
    for child in children(gone.pid) if how == signal.SIGKILL else ():
        os.killpg(child, signal.SIGKILL)
    gone.send_signal(how)
    assert gone.wait(10) == (143 if how == signal.SIGTERM else -9)
    # The other one is still there, and waits.
    assert workers[1 - lost].poll() is None
    again = job.start(gone.args, {INDEX_VARIABLE: str(lost)})
    for one in (gone.stdout, gone.stderr):
        assert one is not None
        one.close()
    workers[lost] = again
    outcomes = ends(workers)
    assert [status for *_, status in outcomes] == [0, 0], outcomes
    assert f"Worker {lost} is gone. Going on from the last" in outcomes[1 - lost][0]
    assert "Going on from the checkpoint of step 60\nstep 70/100 " in outcomes[0][0], before
    assert np.array_equal(
        weights(job, "runs/1", tmp_path), weights(job, "runs/1/workers/1", tmp_path)
    )
    assert last_variables(job, "runs/1", tmp_path / "last")
    assert not job.listing("models/toy/2/")


@pytest.mark.slow
def test_a_boot_file_that_fails_ends_its_worker_and_not_the_others(job: Bucket) -> None:
    """Which of them began is known, whatever TensorFlow does to the others' boot files."""
    job.put("code/boot.py", DISTRIBUTED_BOOT.replace("signal.pause()", "os._exit(9)").encode())
    first, second = start_workers(job, 2, "--hold_at=65", join_seconds="20")
    outcomes = ends([first, second])
    assert [status for *_, status in outcomes] == [9, 1]
    assert "boot file 'boot.py' exited with status 9" in outcomes[0][0]
    assert "Worker 0 ended with status 9, its log tells why. Going on" in outcomes[1][0]
    said = r"error: Worker 0, asked at '[^']+', had not gathered all workers within 20 s\."
    assert re.search(said, outcomes[1][1])
    assert not job.listing("models/")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_a_wrong_tf_config_is_shown(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(TrainingError, match="TF_CONFIG is .* Give it the form"):
        Cluster.of_environment()
