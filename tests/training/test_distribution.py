"""Two workers train one model: two processes that know each other by TF_CONFIG."""

import json
import signal
import socket
from pathlib import Path

import numpy as np
import pytest

from tests.seaweedfs import SeaweedFS
from tests.training.conftest import Bucket, eventually
from tests.training.test_resume import BOOT, last_variables
from training.cluster import Cluster
from training.command_line import TrainingError

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


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def configurations(workers: int) -> list[dict[str, str]]:
    """TF_CONFIG of each worker."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(workers)]}
    return [
        {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})}
        for index in range(workers)
    ]


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
    agents = [job.start(job.agent(), one) for one in configurations(2)]
    outcomes = []
    for agent in agents:
        with agent:
            outcomes.append((*agent.communicate(timeout=110), agent.returncode))
    assert [status for *_, status in outcomes] == [0, 0], outcomes
    alone = job.run(
        job.agent(
            run_hash="1" * 64, train_url=job.url("runs/alone"), model_url=job.url("models/alone")
        )
    )
    assert alone.returncode == 0, alone.stderr

    assert "shared by 2 replicas" in outcomes[0][0]
    assert "step 100/100" in outcomes[0][0] and "step 100/100" not in outcomes[1][0]
    assert "Worker 1 is done; worker 0 publishes the model" in outcomes[1][0]
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


@pytest.mark.slow
def test_a_killed_worker_fails_the_others_and_all_go_on_from_the_checkpoint(
    job: Bucket, environment: SeaweedFS, tmp_path: Path
) -> None:
    command = job.agent("--hold_at=65")
    first, second = (job.start(command, one) for one in configurations(2))
    with first, second:
        assert first.stdout is not None
        assert any(line.startswith("holding") for line in first.stdout)
        eventually(
            lambda: (
                "runs/1/checkpoints/checkpoint" in job.listing()
                and b'path: "step-60"' in job.get("runs/1/checkpoints/checkpoint")
            )
        )
        first.send_signal(signal.SIGTERM)
        assert first.wait(10) == 143
        # It is not left waiting for the first for ever.
        try:
            output, _ = second.communicate(timeout=100)
        finally:
            second.terminate()
        assert second.returncode != 0
        assert "error: Worker 1 has lost another one (" in output
    again = [job.start(command, one) for one in configurations(2)]
    outcomes = []
    for agent in again:
        with agent:
            outcomes.append((*agent.communicate(timeout=110), agent.returncode))
    assert [status for *_, status in outcomes] == [0, 0], outcomes
    assert "Going on from the checkpoint of step 60\nstep 70/100 " in outcomes[0][0]
    assert np.array_equal(
        weights(job, "runs/1", tmp_path), weights(job, "runs/1/workers/1", tmp_path)
    )
    assert last_variables(job, "runs/1", tmp_path / "last")


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
