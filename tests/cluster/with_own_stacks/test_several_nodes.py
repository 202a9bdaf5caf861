"""Workers that train one model together on a real cluster, and what becomes of it if one is lost.

The tests build on each other and run in the order in which they stand here. Not covered: workers
on several machines, which need another cluster.
"""

from collections.abc import Iterator

import pytest

from local.__main__ import Platform
from tests.cluster.conftest import Deployment, new_stack
from tests.cluster.jobs import Job

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

STEPS = ("model=softmax", "max_steps=1500", "checkpoint_every=500", "batch_size=100")


@pytest.fixture(scope="module")
def deployment(platform: Platform) -> Iterator[Deployment]:
    with new_stack(platform, "cluster-nodes") as deployment:
        yield deployment


@pytest.fixture(scope="module")
def job(deployment, tmp_path_factory):
    return Job(deployment, tmp_path_factory.mktemp("nodes") / "code", "nodes")


def index(pod: dict) -> str:
    return pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"]


@pytest.fixture(scope="module")
def single(job):
    """The accuracy of one worker with the batch that two will share."""
    job.parameters(*STEPS)
    job.another_run()
    assert job.deployment.up().returncode == 0
    return job.accuracy()


def test_two_workers_publish_one_model_as_good_as_that_of_one(job, single):
    """From here on they read the data in the store, of which the one had a copy."""
    job.deployment.configure("nodeCount=2", "dataMode=stream")
    before = job.versions()
    assert job.deployment.up().returncode == 0
    assert len(job.versions()) == len(before) + 1
    print(f"one worker {single}, two {job.accuracy()}")
    assert job.accuracy() == pytest.approx(single, abs=0.002)
    assert "shared by 2 replicas" in job.log()
    assert "Worker 1 is done; worker 0 has published the model" in job.log(1)
    assert all("Data is read where it is, 's3://" in job.log(worker) for worker in (0, 1))
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
    job.another_run()
    assert job.deployment.up().returncode == 0
    assert "training-workers" not in job.deployment.names("services")
    assert job.accuracy() == single
