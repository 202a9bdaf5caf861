"""What becomes of a training job on a real cluster: retries, deleted pods, several workers, bars.

The tests build on each other and run in the order in which they stand here. Not covered: a machine
that is lost, and workers on several machines, which need another cluster.
"""

import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from botocore.config import Config

from local.home import REPOSITORY
from tests.cluster.conftest import STACK
from tests.infra.program.test_program import in_git

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

NAMESPACE = f"dlstack-{STACK}"
OUTPUT = f"dlstack-{STACK}-output"
LONG = ("model=softmax", "max_steps=60000", "checkpoint_every=3000", "batch_size=50")
SHARED = ("model=softmax", "max_steps=6000", "checkpoint_every=500", "batch_size=100")


@pytest.fixture(scope="module")
def job(deployment, tmp_path_factory):
    """The stack, with a code folder of its own, so that a note in it makes another run."""
    code = tmp_path_factory.mktemp("job") / "code"
    shutil.copytree(REPOSITORY / "training" / "mnist", code)
    in_git(code, "init", "--quiet")
    in_git(code, "add", ".")
    in_git(code, "commit", "--quiet", "--message=first")
    deployment.configure(f"codeDir={code}", "flavour=cpu-small")
    return Job(deployment, code)


class Job:
    """The training jobs of a stack."""

    def __init__(self, deployment, code):
        self.deployment, self.code = deployment, code
        self.notes = 0

    def parameters(self, *values: str) -> None:
        self.deployment.configure(*(f"runParameters.{value}" for value in values))

    def another_run(self) -> None:
        """Change a file that changes nothing of the result."""
        self.notes += 1
        (self.code / "notes.txt").write_text(f"{self.notes}")

    def up_meanwhile(self, action: Callable[[], None]) -> "object":
        """Run `pulumi up`, and `action` while it runs; return how it ended."""
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(self.deployment.up)
            action()
            return done.result()

    def store(self):
        get = self.deployment.kubectl
        where = ("--namespace", NAMESPACE, "--output", "json")
        data = json.loads(get("get", "secret", "object-store", *where).stdout)["data"]
        (port,) = json.loads(get("get", "service", "object-store", *where).stdout)["spec"]["ports"]
        from base64 import b64decode

        return boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port['nodePort']}",
            region_name="us-east-1",
            aws_access_key_id=b64decode(data["AWS_ACCESS_KEY_ID"]).decode(),
            aws_secret_access_key=b64decode(data["AWS_SECRET_ACCESS_KEY"]).decode(),
            config=Config(s3={"addressing_style": "path"}),
        )

    def keys(self, prefix: str) -> list[str]:
        answer = self.store().list_objects_v2(Bucket=OUTPUT, Prefix=prefix)
        return [entry["Key"] for entry in answer.get("Contents", ())]

    def versions(self) -> list[int]:
        keys = self.keys("models/mnist/")
        return sorted(int(key.split("/")[2]) for key in keys if key.endswith("manifest.json"))

    def log(self, worker: int = 0) -> str:
        """The log of the newest run, all its attempts."""
        (run,) = {self.pods()[-1]["metadata"]["annotations"]["dlstack.dev/run-hash"][:12]}
        path = "log.txt" if worker == 0 else f"workers/{worker}/log.txt"
        body = self.store().get_object(Bucket=OUTPUT, Key=f"runs/{run}/{path}")["Body"]
        return body.read().decode()

    def pods(self) -> list[dict]:
        """The pods of the newest Job, the newest last."""
        words = ("--namespace", NAMESPACE, "--output", "json")
        jobs = json.loads(self.deployment.kubectl("get", "jobs", *words).stdout)["items"]
        newest = max(jobs, key=lambda one: one["metadata"]["creationTimestamp"])
        label = f"batch.kubernetes.io/job-name={newest['metadata']['name']}"
        listed = self.deployment.kubectl("get", "pods", "--selector", label, *words)
        return sorted(
            json.loads(listed.stdout)["items"],
            key=lambda pod: pod["metadata"]["creationTimestamp"],
        )

    def await_checkpoint(self, known: set[str]) -> list[dict]:
        """Return the running pods once a run that is not `known` has a checkpoint in the bucket."""
        until = time.monotonic() + 180
        while time.monotonic() < until:
            states = [key for key in self.keys("runs/") if key.endswith("/checkpoints/checkpoint")]
            if set(states) - known:
                return [pod for pod in self.pods() if pod["status"]["phase"] == "Running"]
            time.sleep(0.2)
        raise AssertionError("no checkpoint came")

    def checkpoints(self) -> set[str]:
        return {key for key in self.keys("runs/") if key.endswith("/checkpoints/checkpoint")}

    def disturbed_up(self, action: Callable[[list[dict]], None]):
        """Run `pulumi up` on another run, and `action` on its pods after the first checkpoint."""
        self.another_run()
        known = self.checkpoints()
        return self.up_meanwhile(lambda: action(self.await_checkpoint(known)))

    def delete(self, pod: dict) -> None:
        name = pod["metadata"]["name"]
        done = self.deployment.kubectl("delete", "pod", name, "--namespace", NAMESPACE)
        assert done.returncode == 0, done.stderr

    def evict(self, pod: dict) -> None:
        """Let the API delete it as it does when a node is drained."""
        name = pod["metadata"]["name"]
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/eviction"
        done = self.deployment.kubectl(
            "create", "--raw", path, "--filename=-", given=json.dumps(eviction)
        )
        assert done.returncode == 0, done.stderr

    def kill_boot_file(self, pod: dict) -> None:
        """Kill all processes of the container but the first, the agent."""
        done = self.deployment.kubectl(
            *("exec", pod["metadata"]["name"], "--namespace", NAMESPACE, "--"),
            *("python3", "-c", "import os, signal; os.kill(-1, signal.SIGKILL)"),
        )
        assert done.returncode in (0, 137), done.stderr

    def accuracy(self) -> float:
        return self.deployment.outputs()["metrics"]["accuracy"]


def index(pod: dict) -> str:
    return pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"]


@pytest.fixture(scope="module")
def undisturbed(job):
    """The accuracy of a long run on one node that nothing happened to."""
    job.parameters(*LONG)
    assert job.deployment.up().returncode == 0
    return job.accuracy()


def test_the_manifest_and_the_outputs_say_what_made_the_model(job, undisturbed):
    made = job.deployment.outputs()["provenance"]
    assert made["boot_file"] == "train_mnist.py"
    assert made["parameters"]["model"] == "softmax"
    assert {"code_sha256", "data_sha256", "image", "node_count", "created", "seconds"} <= set(made)
    assert made["commit"] == in_git(job.code, "rev-parse", "HEAD")
    assert job.deployment.outputs()["runHash"]


def test_a_commit_alone_replaces_nothing(job, undisturbed):
    in_git(job.code, "commit", "--quiet", "--allow-empty", "--message=second")
    assert job.deployment.pulumi("preview", "--expect-no-changes").returncode == 0


def test_a_deleted_pod_resumes_from_its_checkpoint_and_ends_as_if_undisturbed(job, undisturbed):
    def delete(pods):
        (pod,) = pods
        job.delete(pod)

    done = job.disturbed_up(delete)
    assert done.returncode == 0
    assert "Going on from the checkpoint of step " in job.log()
    print(f"undisturbed {undisturbed}, deleted and resumed {job.accuracy()}")
    assert job.accuracy() == undisturbed
    assert job.versions() == [1, 2]
    commit = in_git(job.code, "rev-parse", "HEAD")
    assert job.deployment.outputs()["provenance"]["commit"] == f"{commit}-dirty"


def test_a_job_that_was_deleted_finds_its_model_and_trains_nothing(job):
    (name,) = job.deployment.names("jobs")
    words = ("delete", "job", name, "--namespace", NAMESPACE)
    assert job.deployment.kubectl(*words).returncode == 0
    began = time.monotonic()
    done = job.deployment.pulumi("up", "--yes", "--skip-preview", "--refresh")
    assert done.returncode == 0
    print(f"up with a re-created job took {time.monotonic() - began:.1f} s")
    (pod,) = job.pods()
    log = job.deployment.kubectl("logs", pod["metadata"]["name"], "--namespace", NAMESPACE).stdout
    assert "is already published as version 2" in log and "step" not in log
    assert job.deployment.outputs()["modelVersion"] == 2
    assert job.versions() == [1, 2]


def test_a_killed_boot_file_fails_the_job_and_the_next_up_goes_on_from_there(job, undisturbed):
    done = job.disturbed_up(lambda pods: job.kill_boot_file(pods[0]))
    assert done.returncode != 0
    assert "exited with status 137" in done.stdout
    assert job.versions() == [1, 2]
    assert job.deployment.up().returncode == 0
    assert "Going on from the checkpoint of step " in job.log()
    assert job.accuracy() == undisturbed


def test_a_bar_for_any_metric_is_held_and_a_changed_one_trains_nothing_anew(job):
    job.deployment.configure("maxMetrics.loss=0.001")
    done = job.deployment.up()
    assert done.returncode != 0
    assert "is above --max_metric=loss:0.001" in done.stdout
    assert job.deployment.outputs()["modelVersion"] == 3
    # Of a run that was not published either: its checkpoints are at its end already.
    job.another_run()
    job.parameters("max_steps=3000")
    assert job.deployment.up().returncode != 0
    assert job.versions() == [1, 2, 3]
    job.deployment.configure("maxMetrics.loss=10")
    assert job.deployment.up().returncode == 0
    assert "Going on from the checkpoint of step 3000" in job.log()
    assert job.versions() == [1, 2, 3, 4]


@pytest.fixture(scope="module")
def single(job):
    """The accuracy of one worker with the batch that two will share."""
    job.parameters(*SHARED)
    job.another_run()
    assert job.deployment.up().returncode == 0
    return job.accuracy()


def test_two_workers_publish_one_model_as_good_as_that_of_one(job, single):
    job.deployment.configure("nodeCount=2")
    before = job.versions()
    assert job.deployment.up().returncode == 0
    assert len(job.versions()) == len(before) + 1
    print(f"one worker {single}, two {job.accuracy()}")
    assert job.accuracy() == pytest.approx(single, abs=0.002)
    assert "shared by 2 replicas" in job.log()
    assert "Worker 1 is done; worker 0 has published the model" in job.log(1)
    assert job.deployment.outputs()["provenance"]["node_count"] == 2
    assert job.deployment.pulumi("preview", "--expect-no-changes").returncode == 0


@pytest.mark.parametrize(
    ("lost", "how"), [("0", Job.evict), ("1", Job.delete)], ids=["0 evicted", "1 deleted"]
)
def test_a_worker_whose_pod_goes_is_awaited_and_all_go_on(job, single, lost, how):
    def lose(pods):
        (pod,) = [one for one in pods if index(one) == lost]
        how(job, pod)

    before = job.versions()
    done = job.disturbed_up(lose)
    assert done.returncode == 0
    assert f"Worker {lost} is gone. Going on from" in job.log(1 - int(lost))
    assert "Going on from the checkpoint of step " in job.log()
    assert job.accuracy() == pytest.approx(single, abs=0.002)
    assert len(job.versions()) == len(before) + 1


def test_a_worker_whose_boot_file_is_killed_fails_the_job(job):
    def kill(pods):
        (pod,) = [one for one in pods if index(one) == "1"]
        job.kill_boot_file(pod)

    before = job.versions()
    done = job.disturbed_up(kill)
    assert done.returncode != 0
    assert "exited with status 137" in done.stdout
    assert job.versions() == before


def test_with_a_retry_it_goes_on(job, single):
    def kill(pods):
        (pod,) = [one for one in pods if index(one) == "1"]
        job.kill_boot_file(pod)

    job.deployment.configure("retries=1")
    done = job.disturbed_up(kill)
    assert done.returncode == 0
    assert "Worker 1 ended with status 137, its log tells why. Going on from" in job.log()
    assert job.accuracy() == pytest.approx(single, abs=0.002)


def test_fewer_nodes_take_the_workers_names_away(job, single):
    job.deployment.configure("nodeCount=1", "retries=0")
    assert job.deployment.up().returncode == 0
    assert "training-workers" not in job.deployment.names("services")
    assert job.accuracy() == single


def test_too_little_memory_fails_the_job_and_is_told(job):
    job.deployment.configure("flavours.small.cpu=100m", "flavours.small.memory=128Mi")
    job.deployment.configure("flavour=small")
    job.another_run()
    before = job.versions()
    assert job.deployment.up().returncode != 0
    (pod,) = job.pods()
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")
    assert job.versions() == before
