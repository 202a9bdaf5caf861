"""What becomes of a training job on a real cluster: a deleted pod, a killed boot file, bars.

The tests build on each other and run in the order in which they stand here. Not covered: a machine
that is lost, which needs another cluster.
"""

import time

import pytest

from tests.cluster.jobs import Job
from tests.infra.program.test_program import in_git

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

STEPS = ("model=softmax", "max_steps=3000", "checkpoint_every=1000", "batch_size=50")


@pytest.fixture(scope="module")
def job(deployment, tmp_path_factory):
    return Job(deployment, tmp_path_factory.mktemp("job") / "code", "jobs")


@pytest.fixture(scope="module")
def undisturbed(job):
    """The accuracy of a run on one node that nothing happened to."""
    job.parameters(*STEPS)
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
    assert job.logged("Going on from the checkpoint of step ")
    print(f"undisturbed {undisturbed}, deleted and resumed {job.accuracy()}")
    assert job.accuracy() == undisturbed
    assert job.versions() == [1, 2]
    commit = in_git(job.code, "rev-parse", "HEAD")
    assert job.deployment.outputs()["provenance"]["commit"] == f"{commit}-dirty"


def test_a_job_that_was_deleted_finds_its_model_and_trains_nothing(job):
    (name,) = job.names(1)
    assert job.deployment.kubectl("delete", "job", name).returncode == 0
    began = time.monotonic()
    done = job.deployment.pulumi("up", "--yes", "--skip-preview", "--refresh")
    assert done.returncode == 0
    print(f"up without the job took {time.monotonic() - began:.1f} s")
    assert job.names(0) == []
    assert job.deployment.outputs()["modelVersion"] == 2
    assert job.versions() == [1, 2]


def test_a_killed_boot_file_fails_the_job_and_the_next_up_goes_on_from_there(job, undisturbed):
    done = job.disturbed_up(lambda pods: job.kill_boot_file(pods[0]))
    assert done.returncode != 0
    assert "exited with status 137" in done.stdout
    assert job.versions() == [1, 2]
    assert job.deployment.up().returncode == 0
    assert job.logged("Going on from the checkpoint of step ")
    assert job.accuracy() == undisturbed


def test_a_bar_for_any_metric_is_held_and_a_changed_one_trains_nothing_anew(job):
    job.deployment.configure("maxMetrics.loss=0.001")
    done = job.deployment.up()
    assert done.returncode != 0
    assert "is above dlstack:maxMetrics.loss 0.001" in done.stdout
    assert job.deployment.outputs()["modelVersion"] == 3
    # Of a run that was not published either: its checkpoints are at its end already.
    job.another_run()
    job.parameters("max_steps=1000")
    assert job.deployment.up().returncode != 0
    assert job.versions() == [1, 2, 3]
    job.deployment.configure("maxMetrics.loss=10")
    assert job.deployment.up().returncode == 0
    assert job.logged("Going on from the checkpoint of step 1000")
    assert job.versions() == [1, 2, 3, 4]


WRONGLY_SAVED = """
import sys
from pathlib import Path

from training.metrics import write_metrics
from training.quiet_tensorflow import tf

flags = dict(argument[2:].split("=", 1) for argument in sys.argv[1:])
output = Path(flags["train_url"])
model = tf.keras.Sequential([tf.keras.Input([784], name="images"), tf.keras.layers.Dense(10)])
tf.saved_model.save(model, str(output / "model"))
write_metrics(output, {"accuracy": 1.0, "loss": 0.0})
"""


def test_a_model_that_never_answers_fails_the_job_and_the_good_one_serves_on(job, undisturbed):
    """Symptom: it was published, its pod was Ready, and each request failed."""
    before, served = job.versions(), job.deployment.outputs()["modelVersion"]
    (job.code / "train_wrong.py").write_text(WRONGLY_SAVED)
    job.another_run("train_wrong.py")
    done = job.deployment.up()
    assert done.returncode != 0
    assert "The exported model is not published. Signature 'serving_default' does" in done.stdout
    assert "with `model.export(FOLDER)`" in done.stdout
    assert job.versions() == before
    assert job.deployment.outputs()["modelVersion"] == served
    # The next one is none of it.
    job.another_run()
    assert job.deployment.up().returncode == 0
    assert job.logged("Checked the model in ")


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
