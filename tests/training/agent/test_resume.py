"""A run that is killed in the middle goes on from its checkpoint and ends as if undisturbed."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.seaweedfs import SeaweedFS
from tests.training.conftest import Bucket, new_bucket, read_until
from tests.training.toy_run import BOOT, await_checkpoint, last_variables, scalar_steps


def put_code(bucket: Bucket) -> None:
    bucket.put("data/none", b"-")
    bucket.put("code/boot.py", BOOT.encode())


@pytest.fixture(scope="module")
def undisturbed(object_store: SeaweedFS) -> Iterator[Bucket]:
    """A bucket with a run that nobody killed."""
    with new_bucket(object_store) as bucket:
        put_code(bucket)
        whole = bucket.run(bucket.agent())
        assert (whole.returncode, whole.stderr) == (0, "")
        yield bucket


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("killed", ["agent", "boot file"])
def test_a_killed_run_goes_on_from_its_checkpoint_and_ends_as_if_undisturbed(
    undisturbed: Bucket, bucket: Bucket, environment: SeaweedFS, tmp_path: Path, killed: str
) -> None:
    put_code(bucket)
    command = bucket.agent("--hold_at=65")
    with bucket.start(command) as agent:
        boot_pid = int(read_until(agent, "holding").split()[-1])
        if killed == "agent":
            # What is in the bucket is all that is left, as with a deleted Pod.
            await_checkpoint(bucket, 60)
            agent.kill()
        os.killpg(boot_pid, signal.SIGKILL)
        assert agent.wait() == (-9 if killed == "agent" else 137)
    again = bucket.run(command)

    assert (again.returncode, again.stderr) == (0, ""), again.stdout
    assert "Going on from the checkpoint of step 60\nstep 70/100 " in again.stdout
    whole, resumed = (
        json.loads(one.get("models/toy/1/manifest.json"))["metrics"]
        for one in (undisturbed, bucket)
    )
    for name in ("accuracy", "loss", "steps"):
        assert resumed[name] == whole[name]
    expected = last_variables(undisturbed, "runs/1", tmp_path / "whole")
    found = last_variables(bucket, "runs/1", tmp_path / "resumed")
    assert expected.keys() == found.keys() and len(found) > 8
    for name, value in found.items():
        assert np.array_equal(value, expected[name]), name

    assert scalar_steps(bucket, "runs/1", tmp_path) == list(range(10, 101, 10))
    kept = {Path(key).stem for key in bucket.listing("runs/1/checkpoints/step-")}
    assert kept == {"step-60", "step-80", "step-100"}
    assert "holding" in bucket.get("runs/1/log.txt").decode()
