"""Two workers train one model: two agents on this machine, and the boot files that they start.

Not covered here: the loss of one of them; see agent/test_rounds.py.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.seaweedfs import SeaweedFS
from tests.training.conftest import Bucket
from tests.training.toy_workers import DISTRIBUTED_BOOT, chief_address, ends, start_worker, weights


@pytest.fixture
def job(bucket: Bucket) -> Bucket:
    bucket.put("data/none", b"-")
    bucket.put("code/boot.py", DISTRIBUTED_BOOT.encode())
    return bucket


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_two_workers_end_with_the_same_weights_and_as_one_does(
    job: Bucket, environment: SeaweedFS, tmp_path: Path
) -> None:
    chief = chief_address()
    outcomes = ends([start_worker(job, index, chief) for index in range(2)])
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
