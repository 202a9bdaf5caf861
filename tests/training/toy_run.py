"""A small real run whose boot file can be held at a step, and what such a run leaves."""

from pathlib import Path
from typing import Any

from store import folders
from store.client import from_environment
from store.urls import S3Url
from tests.training.conftest import Bucket
from tests.waiting import eventually

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
    from training.quiet_tensorflow import tf

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
    from training.quiet_tensorflow import tf

    folders.fetch(from_environment(), S3Url(bucket.name, f"{prefix}/checkpoints"), folder)
    latest = tf.train.latest_checkpoint(str(folder))
    reader = tf.train.load_checkpoint(latest)
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        # How often this very process saved.
        if not name.startswith(("_CHECKPOINTABLE", "save_counter"))
    }


def await_checkpoint(bucket: Bucket, step: int) -> None:
    """Return when the checkpoint is in the bucket: what is left of a worker that is lost."""
    state = "runs/1/checkpoints/checkpoint"
    eventually(lambda: state in bucket.listing() and b'path: "step-%d"' % step in bucket.get(state))
