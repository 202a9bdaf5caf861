"""Runs on a real cluster that are killed, superseded, cancelled, rolled back and lost.

The tests build on each other and run in the order in which they stand here.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from local.home import REPOSITORY
from tests.cluster.jobs import BOOT_FILE, HELD, Job

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

UP = ("up", "--yes", "--skip-preview")
STEPS = ("model=softmax", "max_steps=3000", "checkpoint_every=1000", "batch_size=50")


@pytest.fixture(scope="module")
def job(deployment, tmp_path_factory):
    one = Job(deployment, tmp_path_factory.mktemp("runs") / "code", "runs")
    one.parameters(*STEPS)
    one.another_run()
    assert deployment.up().returncode == 0
    return one


class Running:
    """A `pulumi up` that goes on, with what it says."""

    def __init__(self, job: Job, log: Path) -> None:
        self._log = log
        with log.open("w") as output:
            self.process = job.deployment.start_pulumi(*UP, output=output)

    def says(self, text: str) -> None:
        """Return when it has said `text`."""
        until = time.monotonic() + 300
        while text not in self._log.read_text():
            assert time.monotonic() < until and self.process.poll() is None, self._log.read_text()
            time.sleep(0.2)

    def end(self) -> str:
        """Wait for its end; return all that it has said."""
        self.process.wait(400)
        print(said := self._log.read_text())
        return said


@contextmanager
def running(job: Job, tmp_path: Path, name: str = "up.log") -> Iterator[Running]:
    one = Running(job, tmp_path / name)
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGINT)
            one.process.wait()


@contextmanager
def held(job: Job, tmp_path: Path) -> Iterator[Running]:
    """An `up` whose run stands still after its first checkpoint."""
    job.another_run(HELD)
    known = job.checkpoints()
    with running(job, tmp_path) as up:
        job.await_checkpoint(known)
        yield up


def run_of(job: Job) -> str:
    """The first digits of the newest Job's run."""
    return job.pods()[-1]["metadata"]["annotations"]["dlstack.dev/run-hash"][:12]


def log_of(job: Job, run: str) -> str:
    bucket = f"{job.deployment.namespace}-output"
    body = job.store().get_object(Bucket=bucket, Key=f"runs/{run}/log.txt")["Body"]
    return body.read().decode()


def infra(job: Job, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "infra", *words, "--stack", job.deployment.name],
        cwd=REPOSITORY,
        env={**os.environ, **job.deployment.variables},
        capture_output=True,
        text=True,
    )


def forget_the_job(job: Job, file: Path) -> None:
    """Take Job and RunEnd out of the state: as if the `up` had been killed before it wrote it."""
    state = json.loads(job.deployment.pulumi("stack", "export").stdout)
    resources = state["deployment"]["resources"]
    gone = {
        one["urn"]
        for one in resources
        if one["type"] == "kubernetes:batch/v1:Job" or one["type"].endswith("training:RunEnd")
    }

    def left(urns: list[str] | None) -> list[str]:
        return [urn for urn in urns or () if urn not in gone]

    state["deployment"]["resources"] = [
        one
        | {
            "dependencies": left(one.get("dependencies")),
            "propertyDependencies": {
                key: left(urns) for key, urns in (one.get("propertyDependencies") or {}).items()
            },
        }
        for one in resources
        if one["urn"] not in gone
    ]
    state["deployment"].pop("pending_operations", None)
    file.write_text(json.dumps(state))
    assert job.deployment.pulumi("stack", "import", "--file", str(file)).returncode == 0


def test_a_job_of_a_killed_up_is_taken_over_and_publishes_once(job, tmp_path):
    """Symptom otherwise: two Jobs of one run, which delete each other's checkpoints."""
    versions = job.versions()
    with held(job, tmp_path) as up:
        os.killpg(up.process.pid, signal.SIGKILL)
        up.process.wait()
    (pod,) = job.pods()
    assert job.deployment.pulumi("cancel", "--yes").returncode == 0
    forget_the_job(job, tmp_path / "state.json")
    with running(job, tmp_path, "again.log") as up:
        up.says(". Its log: python -m infra logs -f")
        assert [one["metadata"]["uid"] for one in job.pods()] == [pod["metadata"]["uid"]]
        job.delete(pod)
        up.end()
    assert up.process.returncode == 0
    assert job.logged("Going on from the checkpoint of step 1000")
    assert job.versions() == [*versions, max(versions) + 1]
    (name,) = job.names(1)
    assert name == f"training-{run_of(job)}-1"


def test_ctrl_c_ends_the_wait_at_once_and_the_next_run_ends_the_one_that_still_trains(
    job, tmp_path
):
    """Symptom otherwise: the wrong run holds the room until its timeout."""
    versions = job.versions()
    with held(job, tmp_path) as up:
        wrong = run_of(job)
        began = time.monotonic()
        up.process.send_signal(signal.SIGINT)
        said = up.end()
        assert time.monotonic() - began < 60
    assert up.process.returncode != 0
    assert "It goes on: 'pulumi up' waits for it again" in said
    assert [pod["status"]["phase"] for pod in job.pods()] == ["Running"]
    job.another_run(BOOT_FILE)
    done = job.deployment.up()
    assert done.returncode == 0
    assert f"Ending 'training-{wrong}-1'" in done.stdout
    assert job.versions() == [*versions, max(versions) + 1]
    (name,) = job.names(1)
    assert name == f"training-{run_of(job)}-1" and run_of(job) != wrong
    # What it had reached is kept, for whoever goes back to it.
    assert "Standing still at step 1000" in log_of(job, wrong)
    assert f"runs/{wrong}/checkpoints/checkpoint" in job.checkpoints()


def test_a_cancelled_run_ends_the_up_that_waits_and_the_next_goes_on_from_there(job, tmp_path):
    versions = job.versions()
    with held(job, tmp_path) as up:
        done = infra(job, "cancel")
        assert done.returncode == 0, done.stderr
        assert f"The run {run_of_cancelled(job)} is cancelled." in done.stderr
        said = up.end()
    assert up.process.returncode != 0
    assert "was cancelled. The version that is served stays." in said
    status = json.loads(infra(job, "status", "--json").stdout)
    assert status["job"]["state"] == "cancelled"
    assert [one["version"] for one in status["versions"] if one["served"]] == [max(versions)]
    assert infra(job, "cancel").stderr == "No training runs.\n"
    assert job.deployment.up().returncode == 0
    assert job.logged("Going on from the checkpoint of step 1000")
    (name,) = job.names(1)
    assert name.endswith("-2")
    assert job.versions() == [*versions, max(versions) + 1]


def run_of_cancelled(job: Job) -> str:
    (newest,) = [one for one in job.deployment.items("jobs") if one["spec"].get("suspend")]
    return newest["metadata"]["name"].split("-")[1]


@contextmanager
def asked_all_the_time(job: Job) -> Iterator[list[str]]:
    """Ask for a prediction again and again, each at the first try; give what failed."""
    outputs = job.deployment.outputs()
    url = f"{outputs['restUrl']}/v1/models/{outputs['modelName']}:predict"
    body = json.dumps({"signature_name": "predict_object", "instances": [[0.0] * 784]}).encode()
    failed: list[str] = []
    stop = Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                with urllib.request.urlopen(url, body, timeout=60) as answer:
                    json.load(answer)
            except (OSError, ValueError) as error:
                failed.append(str(error))
            stop.wait(0.05)

    asking = Thread(target=ask)
    asking.start()
    try:
        yield failed
    finally:
        stop.set()
        asking.join()


def test_a_roll_back_is_done_at_once_whatever_the_working_tree_is_like(job, deployment):
    """Symptom otherwise: it waited for a training, and failed with it."""
    before, versions = deployment.outputs(), job.versions()
    runs = {key.split("/")[1] for key in job.keys("runs/")}
    deployment.configure(f"modelVersion={versions[0]}", "dataDir=gone", "bootFile=broken.py")
    with asked_all_the_time(job) as failed:
        began = time.monotonic()
        done = deployment.up()
        seconds = time.monotonic() - began
    print(f"a roll-back took {seconds:.1f} s")
    assert done.returncode == 0
    assert failed == []
    assert deployment.outputs()["modelVersion"] == versions[0]
    said = f"Version {versions[-1]} is newer, and is not served."
    way = "pulumi config rm dlstack:modelVersion"
    assert said in done.stdout and way in done.stdout
    status = infra(job, "status").stdout
    assert said in status and way in status
    assert deployment.pulumi("preview", "--expect-no-changes").returncode == 0
    # Back to the newest, which is published: nothing is trained.
    deployment.configure("modelVersion=", f"dataDir={deployment.data_dir}", f"bootFile={HELD}")
    assert deployment.up().returncode == 0
    assert deployment.outputs()["modelVersion"] == before["modelVersion"] == versions[-1]
    assert job.names(0) == [] and job.versions() == versions
    assert {key.split("/")[1] for key in job.keys("runs/")} == runs


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("another content", ()),
        ("no manifest", ()),
        ("nothing left", ("--refresh",)),
    ],
)
def test_a_lost_version_is_published_again_without_training(job, deployment, damage, words):
    """Symptom otherwise: the next pod could not fetch it, and no command helped."""
    outputs = deployment.outputs()
    served, bucket = outputs["modelVersion"], f"{deployment.namespace}-output"
    prefix = f"models/{job.model}/{served}/"
    if damage == "another content":
        job.store().put_object(Bucket=bucket, Key=f"{prefix}saved_model.pb", Body=b"no graph")
    else:
        gone = job.keys(prefix) if damage == "nothing left" else [f"{prefix}manifest.json"]
        for key in gone:
            job.store().delete_object(Bucket=bucket, Key=key)
    done = deployment.pulumi(*UP, *words)
    assert done.returncode == 0
    again = deployment.outputs()
    assert (again["runHash"], again["metrics"]["accuracy"]) == (
        outputs["runHash"],
        outputs["metrics"]["accuracy"],
    )
    assert again["modelVersion"] == (served if damage == "nothing left" else served + 1)
    # A pod that starts now fetches it.
    assert (
        deployment.kubectl("delete", "pod", "-lapp.kubernetes.io/name=prediction").returncode == 0
    )
    waited = deployment.kubectl("rollout", "status", "deployment/prediction", "--timeout=300s")
    assert waited.returncode == 0, waited.stderr
    assert job.logged("Going on from the checkpoint of step 3000")
    assert deployment.pulumi("preview", "--expect-no-changes").returncode == 0
