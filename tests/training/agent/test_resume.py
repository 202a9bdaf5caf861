"""A run that is killed in the middle goes on from its checkpoint and ends as if undisturbed."""

import itertools
import json
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.seaweedfs import SeaweedFS
from tests.training.conftest import Bucket, eventually
from training.checkpoints import Checkpoints
from training.command_line import TrainingError
from training.mirror.upload_mirror import UploadMirror
from training.object_store import ObjectStore, S3Url
from training.quiet_tensorflow import tf

#: Trains 100 steps with a checkpoint every 20. `--hold_at=N`: the first attempt stops there.
BOOT = """
import os, signal
import numpy as np
from training import command_line
from training.batches import ShuffledBatches
from training.tf_config import Cluster
from training.evaluation import classification_scalars, evaluate
from training.folders import output_folder
from training.quiet_tensorflow import tf
from training.run_settings import RunDefaults, RunSettings, run_parser
from training.trainer import Model, run

points = np.random.default_rng(5).normal(size=(500, 8)).astype("float32")
labels = (points[:, 0] * points[:, 1] > 0).astype("int64")

def model():
    layers = tf.keras.layers
    network = tf.keras.Sequential([
        tf.keras.Input([8]), layers.Dense(16, activation="relu"), layers.Dropout(0.2),
        layers.Dense(2),
    ])

    @tf.function(input_signature=[tf.TensorSpec([None, 8], tf.float32, name="points")])
    def serving_default(points):
        return {"logits": network(points)}

    return Model(
        module=network,
        loss_fn=lambda some, truth, training: classification_scalars(
            network(some, training=training), truth
        ),
        signatures={"serving_default": serving_default},
    )

def main(arguments):
    parser = run_parser("boot.py", "x")
    parser.add_argument("--hold_at", type=int, default=-1)
    options = parser.parse_args(arguments)
    defaults = RunDefaults(
        learning_rate=0.02, batch_size=32, max_steps=100, log_every=10, checkpoint_every=20
    )
    settings = RunSettings.of(options, defaults, len(labels))
    with output_folder(options.train_url) as output:
        again = (output / "checkpoints" / "checkpoint").exists()

        def hold(number):
            if number == options.hold_at and not again and Cluster.of_environment().is_chief:
                print("holding", os.getpid())
                signal.pause()

        def input_fn():
            batches = ShuffledBatches([points, labels], settings.batch_size, settings.seed)
            def batch(number, share, shares):
                tf.py_function(hold, [number], [])
                return batches(number, share, shares)
            return batch

        run(
            input_fn=input_fn,
            model_fn=model,
            optimizer_fn=tf.keras.optimizers.Adam,
            evaluate_fn=lambda trained: evaluate(trained.loss_fn, [points, labels]),
            output=output,
            settings=settings,
        )
    return 0

command_line.run(main)
"""


def scalar_steps(bucket: Bucket, prefix: str, folder: Path, tag: str = "loss") -> list[int]:
    """The steps that TensorBoard shows: an event of a new start hides those at or after it."""
    steps: list[int] = []
    for key in bucket.listing(f"{prefix}/events."):
        file = folder / key.rsplit("/", 1)[1]
        file.write_bytes(bucket.get(key))
        for record in tf.compat.v1.io.tf_record_iterator(str(file)):
            event = tf.compat.v1.Event.FromString(record)
            if event.HasField("session_log"):
                steps = [step for step in steps if step < event.step]
            steps += [event.step for value in event.summary.value if value.tag == tag]
    return steps


def last_variables(bucket: Bucket, prefix: str, folder: Path) -> dict[str, Any]:
    """The values in the newest checkpoint of a run."""
    ObjectStore().fetch_folder(S3Url(bucket.name, f"{prefix}/checkpoints"), folder)
    latest = tf.train.latest_checkpoint(str(folder))
    reader = tf.train.load_checkpoint(latest)
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        # How often this very process saved.
        if not name.startswith(("_CHECKPOINTABLE", "save_counter"))
    }


@pytest.fixture
def undisturbed(bucket: Bucket) -> Bucket:
    """A bucket with code, data and a finished run below `runs/whole`."""
    bucket.put("data/none", b"-")
    bucket.put("code/boot.py", BOOT.encode())
    whole = bucket.run(
        bucket.agent(
            run_hash="1" * 64, train_url=bucket.url("runs/whole"), model_url=bucket.url("models/w")
        )
    )
    assert (whole.returncode, whole.stderr) == (0, "")
    return bucket


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["agent", "boot file"])
def test_a_killed_run_goes_on_from_its_checkpoint_and_ends_as_if_undisturbed(
    undisturbed: Bucket, environment: SeaweedFS, tmp_path: Path, killed: str
) -> None:
    bucket, command = undisturbed, undisturbed.agent("--hold_at=65")
    with bucket.start(command) as agent:
        assert agent.stdout is not None
        holding = next(line for line in agent.stdout if line.startswith("holding"))
        boot_pid = int(holding.split()[1])
        if killed == "agent":
            # What is in the bucket is all that is left, as with a deleted Pod.
            eventually(
                lambda: (
                    "runs/1/checkpoints/checkpoint" in bucket.listing()
                    and b'path: "step-60"' in bucket.get("runs/1/checkpoints/checkpoint")
                )
            )
            agent.kill()
        os.killpg(boot_pid, signal.SIGKILL)
        assert agent.wait() == (-9 if killed == "agent" else 137)
    again = bucket.run(command)

    assert (again.returncode, again.stderr) == (0, "")
    assert "Going on from the checkpoint of step 60\nstep 70/100 " in again.stdout
    manifests = [json.loads(bucket.get(f"models/{name}/1/manifest.json")) for name in ("w", "toy")]
    whole, resumed = (manifest["metrics"] for manifest in manifests)
    for name in ("accuracy", "loss", "steps"):
        assert resumed[name] == whole[name]
    expected = last_variables(bucket, "runs/whole", tmp_path / "whole")
    found = last_variables(bucket, "runs/1", tmp_path / "resumed")
    assert expected.keys() == found.keys() and len(found) > 8
    for name, value in found.items():
        assert np.array_equal(value, expected[name]), name

    assert scalar_steps(bucket, "runs/1", tmp_path) == list(range(10, 101, 10))
    kept = {Path(key).stem for key in bucket.listing("runs/1/checkpoints/step-")}
    assert kept == {"step-60", "step-80", "step-100"}
    assert "holding" in bucket.get("runs/1/log.txt").decode()


def variable_of(value: float) -> "tf.train.Checkpoint":
    return tf.train.Checkpoint(value=tf.Variable(value))


def test_checkpoints_of_a_run_with_other_parameters_are_refused(tmp_path: Path) -> None:
    Checkpoints(variable_of(1.0), tmp_path, {"model": "cnn", "seed": 1}).save(10)

    Checkpoints(variable_of(1.0), tmp_path, {"model": "cnn", "seed": 1})
    with pytest.raises(TrainingError, match="has checkpoints of a run with --model=cnn. Give"):
        Checkpoints(variable_of(1.0), tmp_path, {"model": "softmax", "seed": 1})


def test_a_checkpoint_that_does_not_fit_or_is_damaged_is_reported_in_one_line(
    tmp_path: Path,
) -> None:
    Checkpoints(variable_of(1.0), tmp_path, {}).save(10)
    other = tf.train.Checkpoint(another=tf.Variable([1.0, 2.0]))
    with pytest.raises(TrainingError, match="step-10' can't be restored: .*Delete it") as raised:
        Checkpoints(other, tmp_path, {}).restore()
    assert "\n" not in str(raised.value)

    next((tmp_path / "checkpoints").glob("step-10.data*")).write_bytes(b"")
    with pytest.raises(TrainingError, match="step-10' can't be restored: ") as raised:
        Checkpoints(variable_of(0.0), tmp_path, {}).restore()
    assert "\n" not in str(raised.value)


def test_what_an_interrupted_save_left_is_deleted(tmp_path: Path) -> None:
    Checkpoints(variable_of(1.0), tmp_path, {}).save(10)
    (tmp_path / "checkpoints" / "step-20.data-00000-of-00001").write_bytes(b"half")

    assert Checkpoints(variable_of(0.0), tmp_path, {}).restore() == 10
    assert sorted(file.name for file in (tmp_path / "checkpoints").iterdir()) == [
        "checkpoint",
        "parameters.json",
        "step-10.data-00000-of-00001",
        "step-10.index",
    ]


def named_in(state: bytes) -> set[str]:
    return {line.split('"')[1] for line in state.decode().splitlines() if "path" in line}


def test_the_state_file_in_the_store_never_names_what_is_not_there(
    bucket: Bucket, environment: SeaweedFS, tmp_path: Path
) -> None:
    """The state was read after its folder was listed: it could name a checkpoint made since."""
    checkpoints = Checkpoints(variable_of(1.0), tmp_path, {})
    faults: list[str] = []
    saved = itertools.count(1)

    class Watched(ObjectStore):
        """Saves on during each upload, and looks after each change whether all is there."""

        def write(self, url: S3Url, content: bytes) -> None:
            # With the log only, of which there is one: no two save side by side.
            if url.prefix.endswith("log.txt"):
                checkpoints.save(next(saved))
            super().write(url, content)
            self._look()

        def delete(self, url: S3Url) -> None:
            super().delete(url)
            self._look()

        def _look(self) -> None:
            state = "runs/1/checkpoints/checkpoint"
            listing = bucket.listing("runs/1/")
            if state in listing:
                named = named_in(bucket.get(state))
                there = {Path(key).stem for key in bucket.listing("runs/1/") if ".index" in key}
                faults.extend(named - there)

    mirror = UploadMirror(Watched(), tmp_path, S3Url(bucket.name, "runs/1"), interval=0.01)
    mirror.start()
    for number in range(12):
        (tmp_path / "log.txt").write_text(f"{number}")
        eventually(partial(log_is, bucket, b"%d" % number))
    mirror.finish()

    assert faults == []
    last = next(saved) - 1
    newest = {f"step-{number}" for number in range(last - 2, last + 1)}
    assert newest == named_in(bucket.get("runs/1/checkpoints/checkpoint"))
    assert newest == {Path(key).stem for key in bucket.listing("runs/1/checkpoints/step-")}


def log_is(bucket: Bucket, text: bytes) -> bool:
    return "runs/1/log.txt" in bucket.listing() and bucket.get("runs/1/log.txt") == text


def test_what_was_fetched_is_not_uploaded_again_and_deleted_when_it_goes(
    bucket: Bucket, environment: SeaweedFS, tmp_path: Path
) -> None:
    for name in ("step-1.index", "step-1.data-00000-of-00001"):
        bucket.put(f"runs/1/checkpoints/{name}", b"1")
    bucket.put("runs/1/events.out.tfevents.1", b"stays there")
    puts: list[str] = []

    class Recording(ObjectStore):
        def write(self, url: S3Url, content: bytes) -> None:
            puts.append(url.prefix)
            super().write(url, content)

    mirror = UploadMirror(Recording(), tmp_path, S3Url(bucket.name, "runs/1"))
    assert mirror.fetch({"checkpoints"}) == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == ["checkpoints"]
    (tmp_path / "checkpoints" / "step-1.index").unlink()
    mirror.start()
    mirror.finish()

    assert puts == []
    assert bucket.listing() == [
        "runs/1/checkpoints/step-1.data-00000-of-00001",
        "runs/1/events.out.tfevents.1",
    ]
