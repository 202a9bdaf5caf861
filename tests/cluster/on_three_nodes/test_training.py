"""Training on three nodes: one model by workers on several, and a node lost in the middle.

The tests build on each other and run in the order in which they stand here.
"""

import os
import subprocess
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from local.home import REPOSITORY
from tests.cluster.conftest import Deployment, configuration_kept
from tests.cluster.jobs import Job
from tests.cluster.on_three_nodes.conftest import ThreeNodes
from training.quiet_tensorflow import tf

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

# A batch that two and three workers share equally.
STEPS = ("model=softmax", "max_steps=1200", "checkpoint_every=400", "batch_size=120")

KERAS = """
import argparse, json
from pathlib import Path
import numpy as np
from training import keras_workers
from training.keras_callback import JobCallback
from training.quiet_tensorflow import tf

parser = argparse.ArgumentParser()
parser.add_argument("--data_url")
parser.add_argument("--train_url", type=Path)
output = parser.parse_args().train_url
output.mkdir(exist_ok=True)
tf.keras.utils.set_random_seed(11)
with keras_workers.joined() as workers:
    points = np.random.default_rng(5).normal(size=(480, 4)).astype("float32")
    heights = points @ np.array([[1.0], [-2.0], [0.5], [0.0]], "float32")
    layers = [tf.keras.Input([4]), tf.keras.layers.Dense(8, "relu"), tf.keras.layers.Dense(1)]
    model = tf.keras.Sequential(layers)
    model.compile(tf.keras.optimizers.Adam(0.01), "mse")
    dataset = tf.data.Dataset.from_tensor_slices((points, heights)).batch(32)
    job = JobCallback(output, model, log_every=5, workers=workers)
    workers.fit(model, dataset, epochs=4, initial_epoch=job.first_epoch, callbacks=[job])
    if workers.is_chief:
        model.export(output / "model")
        loss = model.evaluate(points, heights, verbose=0)
        (output / "metrics.json").write_text(json.dumps({"loss": float(loss)}))
        print(f"fitted by {workers.count} workers", flush=True)
"""

GOES_ON_SECONDS = 60
"""From Kubernetes' notice that a node is lost to another pod that runs elsewhere."""

Weights = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def job(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Job:
    one = Job(deployment, tmp_path_factory.mktemp("training") / "code", "nodes")
    # Nothing here is about serving.
    deployment.configure("flavour=shared", "deploy=false", "timeout=9m")
    one.parameters(*STEPS)
    return one


@pytest.fixture(scope="module")
def alone(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """The weights that one worker ends with."""
    job.another_run()
    assert job.deployment.up().returncode == 0
    return weights(job, tmp_path_factory.mktemp("alone"))


def weights(job: Job, folder: Path) -> Weights:
    """Variables of the newest published version, by name."""
    prefix = f"models/{job.model}/{job.versions()[-1]}/variables/"
    for key in job.keys(prefix):
        bucket = f"{job.deployment.namespace}-output"
        job.store().download_file(bucket, key, str(folder / Path(key).name))
    return variables(folder)


def variables(folder: Path) -> Weights:
    """Variables of floats of the model whose folder `variables` this is, by name."""
    reader = tf.train.load_checkpoint(str(folder / "variables"))
    names = [name for name, kind in reader.get_variable_to_dtype_map().items() if kind.is_floating]
    assert names
    return {name: reader.get_tensor(name) for name in names}


def by_shape(weights: Weights) -> Weights:
    """The same with their shapes, each of which only one has, as names.

    Keras numbers the variables of an export in another order each time.
    """
    return {str(one.shape): one for one in weights.values()}


def farthest(ours: Weights, theirs: Weights) -> float:
    """The biggest difference of two weights in the same place."""
    assert ours.keys() == theirs.keys()
    return max(float(np.max(np.abs(ours[name] - theirs[name]))) for name in ours)


def nodes_of(pods: Iterable[dict]) -> list[str]:
    return [pod["spec"]["nodeName"] for pod in pods]


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_on_nodes_of_their_own_end_with_the_weights_of_one(
    job: Job, alone: Weights, cluster_of_three: ThreeNodes, tmp_path: Path, workers: int
) -> None:
    job.deployment.configure(f"nodeCount={workers}")
    job.another_run()
    assert job.deployment.up().returncode == 0
    assert len(set(nodes_of(job.pods()))) == workers
    assert f"shared by {workers} replicas" in job.log()
    difference = farthest(weights(job, tmp_path), alone)
    print(f"{workers} workers: weights differ from those of one by at most {difference:.1e}")
    # Rounding: sums of gradients are added up in another order.
    assert difference < 1e-4


def test_keras_fit_on_two_nodes_ends_with_the_weights_of_one(
    job: Job, three_nodes: ThreeNodes, tmp_path: Path
) -> None:
    (job.code / "fit.py").write_text(KERAS)
    with configuration_kept(job.deployment):
        job.deployment.pulumi("config", "rm", "dlstack:runParameters")
        job.deployment.configure("nodeCount=2", "bootFile=fit.py")
        assert job.deployment.up().returncode == 0
        assert len(set(nodes_of(job.pods()))) == 2
        assert "fitted by 2 workers" in job.log()
        alone = tmp_path / "alone"
        command = [sys.executable, job.code / "fit.py", f"--train_url={alone}"]
        subprocess.run(command, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, check=True)
        theirs = variables(alone / "model" / "variables")
        difference = farthest(by_shape(weights(job, tmp_path)), by_shape(theirs))
        print(f"Keras on 2 nodes: weights differ from those of one by at most {difference:.1e}")
        assert difference < 1e-4


def test_a_run_whose_node_is_cut_off_goes_on_elsewhere(
    job: Job, alone: Weights, three_nodes: ThreeNodes, tmp_path: Path
) -> None:
    """The pod there goes on to run, and is not waited for."""
    job.deployment.configure("nodeCount=2")
    lost: list[dict] = []

    def cut(pods: list[dict]) -> None:
        lost.append(next(pod for pod in pods if pod["spec"]["nodeName"] != "dlstack"))
        three_nodes.cut(lost[0]["spec"]["nodeName"])

    assert job.disturbed_up(cut).returncode == 0
    went_on(job, three_nodes, lost[0])
    assert farthest(weights(job, tmp_path), alone) < 1e-4


def test_a_run_whose_node_is_killed_with_the_store_goes_on_elsewhere(
    job: Job, alone: Weights, three_nodes: ThreeNodes, tmp_path: Path
) -> None:
    """The store takes its data along."""
    job.deployment.configure("nodeCount=1")
    for name in ("dlstack", "dlstack-3"):
        three_nodes.cordon(name)
    job.deployment.kubectl("delete", "pod", "--selector=app.kubernetes.io/name=object-store")
    rolled = job.deployment.kubectl("rollout", "status", "deployment/object-store")
    assert rolled.returncode == 0, rolled.stderr
    versions, lost = job.versions(), []

    def kill(pods: list[dict]) -> None:
        lost.extend(pods)
        for name in ("dlstack", "dlstack-3"):
            three_nodes.uncordon(name)
        three_nodes.kill("dlstack-2")

    assert job.disturbed_up(kill).returncode == 0
    assert nodes_of(lost) == ["dlstack-2"]
    went_on(job, three_nodes, lost[0])
    assert job.versions() == [*versions, versions[-1] + 1]
    assert farthest(weights(job, tmp_path), alone) < 1e-4


def went_on(job: Job, nodes: ThreeNodes, lost: dict) -> None:
    """Check that another pod took the place of a lost one in time, from the checkpoint."""
    node = lost["spec"]["nodeName"]
    ready = '{.status.conditions[?(@.type=="Ready")].lastTransitionTime}'
    noticed = nodes.kubectl("get", "node", node, f"--output=jsonpath={ready}")
    pods = job.pods()
    assert node not in nodes_of(pods)
    assert "Going on from the checkpoint of step " in job.log()
    (trains,) = [
        one for one in pods[-1]["status"]["containerStatuses"] if one["name"] == "training"
    ]
    began = trains["state"]["terminated"]["startedAt"]
    seconds = (datetime.fromisoformat(began) - datetime.fromisoformat(noticed)).total_seconds()
    print(f"another pod ran {seconds:.0f} s after the node's loss was noticed")
    assert 0 <= seconds < GOES_ON_SECONDS
