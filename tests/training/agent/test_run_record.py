"""The record that the agent keeps of a run, in a real object store."""

import json
import os
import signal
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.training.agent.test_run import PROLOGUE, WAIT_FOR_EVER, boot
from tests.training.conftest import RUN_HASH, Bucket, read_until
from tests.waiting import eventually
from training.agent import run_record
from training.agent.run_record import RunRecord

FACTS = {"run_hash": RUN_HASH, "model_name": "toy", "parameters": {}}


@pytest.fixture
def job(bucket: Bucket) -> Bucket:
    """A bucket with data and a boot file that leaves a model of accuracy 0.9."""
    bucket.put("data/part.txt", b"data")
    bucket.put("code/boot.py", (PROLOGUE + "finish(0.9)").encode())
    return bucket


def record(job: Bucket) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(job.get("runs/1/run.json"))
    return found


def test_a_run_that_ends_well_says_what_it_was_and_what_came_of_it(job: Bucket) -> None:
    sources = {"code": {"boot.py": "0123456789ab"}}
    flags = {"commit": "c0ffee", "attempt": "2", "sources": json.dumps(sources)}
    flags["provenance"] = json.dumps({"image": "training:1"})
    boot(job, "print('Step 3 of 10')\nfinish(0.9)")
    assert job.run(job.agent("--epochs=3", **flags)).returncode == 0

    found = record(job)
    assert (found["format"], found["run_hash"], found["model_name"]) == (1, RUN_HASH, "toy")
    assert (found["parameters"], found["boot_file"]) == ({"epochs": "3"}, "boot.py")
    assert (found["commit"], found["nodes"], found["attempt"]) == ("c0ffee", 1, 2)
    assert (found["provenance"], found["sources"]) == ({"image": "training:1"}, sources)
    assert (found["state"], found["version"]) == ("succeeded", 1)
    assert found["metrics"] == {"accuracy": 0.9, "loss": 0.1}
    assert set(found["seconds"]) == {"fetch", "train", "publish"}
    assert found["started"] == found["attempt_started"] < found["ended"]
    assert found["earlier_seconds"] == 0
    progress = found["progress"]
    assert (progress["done"], progress["total"], progress["unit"]) == (3, 10, "steps")
    assert "cause" not in found and "last_lines" not in found


def test_a_boot_file_that_fails_leaves_the_end_of_its_log(job: Bucket) -> None:
    boot(job, "raise ValueError('no such column')")
    assert job.run(job.agent()).returncode == 1

    found = record(job)
    assert found["state"] == "failed"
    assert found["cause"] == "boot file 'boot.py' exited with status 1"
    assert "ValueError: no such column\n" in found["last_lines"]


def test_a_bar_that_is_missed_is_the_cause_beside_the_metrics(job: Bucket) -> None:
    assert job.run(job.agent(min_accuracy="0.95")).returncode == 1

    found = record(job)
    assert (found["state"], found["metrics"]["accuracy"]) == ("failed", 0.9)
    assert "is below dlstack:minAccuracy 0.95" in found["cause"]
    assert "version" not in found


def test_a_run_that_fails_before_its_boot_file_has_a_record_as_well(job: Bucket) -> None:
    assert job.run(job.agent(data_url=job.url("nothing"))).returncode == 1

    found = record(job)
    assert (found["state"], found["seconds"]) == ("failed", {})
    assert "dlstack:dataDir has no files" in found["cause"]


def test_a_run_that_is_told_to_end_is_interrupted_and_goes_on_as_the_same(job: Bucket) -> None:
    boot(job, WAIT_FOR_EVER)
    with job.start(job.agent()) as agent:
        read_until(agent, "waiting")
        eventually(lambda: "runs/1/run.json" in job.listing("runs/"))
        assert record(job)["state"] == "running"
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(60) == 143
    first = record(job)
    assert (first["state"], first["cause"]) == ("interrupted", "it was told to end (SIGTERM)")

    boot(job, "finish(0.9)")
    assert job.run(job.agent(attempt="2")).returncode == 0
    second = record(job)
    assert (second["state"], second["attempt"]) == ("succeeded", 2)
    assert second["started"] == first["started"] < second["attempt_started"]
    assert second["earlier_seconds"] > 0


def test_a_run_that_is_killed_has_a_record_that_says_running(job: Bucket) -> None:
    boot(job, WAIT_FOR_EVER.replace("time.sleep", "print(os.getpid(), flush=True)\ntime.sleep"))
    with job.start(job.agent()) as agent:
        read_until(agent, "waiting")
        pid = int(agent.stdout.readline())  # type: ignore[union-attr]
        eventually(lambda: "runs/1/run.json" in job.listing("runs/"))
        agent.kill()
        os.killpg(pid, signal.SIGKILL)
    assert record(job)["state"] == "running"


def test_a_bar_raised_above_a_published_model_makes_the_last_attempt_a_failure(
    job: Bucket,
) -> None:
    assert job.run(job.agent()).returncode == 0
    assert job.run(job.agent(min_accuracy="0.95", attempt="2")).returncode == 1
    failed = record(job)
    assert (failed["state"], failed["version"], failed["attempt"]) == ("failed", 1, 2)
    assert "is below dlstack:minAccuracy 0.95" in failed["cause"]
    assert set(failed["seconds"]) == {"fetch", "train", "publish"}

    assert job.run(job.agent(attempt="3")).returncode == 0
    assert (record(job)["state"], record(job)["version"]) == ("succeeded", 1)


def test_a_file_of_that_name_that_is_no_record_is_no_reason_to_fail(job: Bucket) -> None:
    job.put("runs/1/run.json", b"[1, 2")
    boot(job, "(output / 'run.json').write_text('mine')\nfinish(0.9)")
    assert job.run(job.agent()).returncode == 0
    assert record(job)["state"] == "succeeded"


def test_a_record_that_cannot_be_kept_is_no_reason_to_fail(tmp_path: Path) -> None:
    one = RunRecord(run_record.into(tmp_path / "gone" / "run.json"), None, FACTS)
    one.begins()
    one.sees(b"step 1/2\n")
    one.ends("succeeded")


def test_progress_is_kept_at_most_every_five_seconds_and_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # They have passed when this test says so, not when a busy machine stood still.
    now = [100.0]
    monkeypatch.setattr(run_record, "time", SimpleNamespace(monotonic=lambda: now[0]))
    kept: list[dict[str, Any]] = []
    one = RunRecord(lambda content: kept.append(json.loads(content)), None, FACTS)
    one.begins()
    for number in range(1, 1001):
        one.sees(b"step %d/1000\n" % number)
        if number == 500:
            assert len(kept) == 1
            now[0] += 5
    one.ends("succeeded")
    assert [len(kept), kept[1]["progress"]["done"]] == [3, 501]
    assert kept[-1]["progress"]["done"] == 1000


def test_the_first_end_that_is_told_counts() -> None:
    kept: list[dict[str, Any]] = []
    one = RunRecord(lambda content: kept.append(json.loads(content)), None, FACTS)
    one.ends("failed", "too\nfew pictures")
    one.ends("succeeded")
    assert (kept[-1]["state"], kept[-1]["cause"]) == ("failed", "too few pictures")


def test_a_run_that_has_published_when_it_is_told_to_end_has_succeeded() -> None:
    kept: list[dict[str, Any]] = []
    one = RunRecord(lambda content: kept.append(json.loads(content)), None, FACTS)
    one.published(3)
    one.ends("interrupted", "it was told to end (SIGTERM)")
    assert kept[-1]["state"] == "succeeded" and "cause" not in kept[-1]


def test_lines_may_be_seen_while_the_run_ends() -> None:
    kept: list[bytes] = []
    one = RunRecord(kept.append, None, FACTS)
    lines = threading.Thread(
        target=lambda: [one.sees(b"step %d/9999\n" % number) for number in range(5000)]
    )
    lines.start()
    one.ends("failed", "boot file 'boot.py' exited with status 1")
    lines.join()
    assert json.loads(kept[-1])["state"] == "failed"
