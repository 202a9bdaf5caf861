"""A boot file for tests of the trainer: `python -m tests.training.trainer_boot OUTPUT …`.

It fits noisy points by a network with a dropout, from a dataset of the kind asked for, and prints
a JSON object: metrics, a digest of the weights, and what the evaluations said.
"""

import argparse
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from training.evaluation import evaluate
from training.quiet_tensorflow import tf
from training.readers import csv_files
from training.run_settings import RunDefaults, RunSettings, run_parser
from training.trainer import Model, run

POINTS = np.random.default_rng(5).normal(size=(500, 4)).astype("float32")
VALUES = (POINTS @ [1.0, -2.0, 0.5, 0.0] + np.abs(POINTS[:, 0])).astype("float32")


def dataset(kind: str, settings: RunSettings, table: Path) -> Any:
    """Return what an input_fn returns: the same 500 points in an order of the kind's."""
    if kind == "reader":
        if not table.exists():
            rows = [",".join(map(repr, row)) for row in np.c_[POINTS, VALUES].tolist()]
            # Whole at once: another worker reads it as soon as it is there.
            written = table.parent.with_name(f"points-{os.getpid()}")
            written.write_text("\n".join(["a,b,c,d,value", *rows]))
            written.rename(table)
        training, _ = csv_files.read(table.parent, label="value", validation=0.1)
        return training.batches(settings).map(
            lambda features, value: (tf.stack([features[name] for name in "abcd"], 1), value)
        )
    if kind == "generator":

        def points() -> Any:
            yield from zip(POINTS, VALUES, strict=True)

        signature = (tf.TensorSpec([4], tf.float32), tf.TensorSpec([], tf.float32))
        slices = tf.data.Dataset.from_generator(points, output_signature=signature)
    else:
        slices = tf.data.Dataset.from_tensor_slices((POINTS, VALUES))
    if kind == "two shuffles":
        slices = slices.shuffle(100, seed=3)
    shuffled = slices.shuffle(200, seed=4)
    return shuffled.batch(settings.batch_size)


def network(dropout: float) -> Model:
    layers = tf.keras.layers
    built = tf.keras.Sequential(
        [
            tf.keras.Input([4]),
            layers.Dense(16, activation="relu"),
            layers.Dropout(dropout),
            layers.Dense(1),
        ]
    )

    def loss_fn(points: Any, values: Any, training: bool) -> Mapping[str, Any]:
        return {"loss": tf.reduce_mean((built(points, training=training)[:, 0] - values) ** 2)}

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="points")])  # type: ignore[untyped-decorator]
    def serving_default(points: Any) -> Any:
        return {"value": built(points)[:, 0]}

    return Model(module=built, loss_fn=loss_fn, signatures={"serving_default": serving_default})


class Interrupted(Exception):
    """What a kill would be."""


def train(output: Path, kind: str, stop_at: int, dropout: float, *flags: str) -> dict[str, Any]:
    """Train; an evaluation at `stop_at` or later is never finished."""
    given = ["--data_url=-", "--train_url=-", "--evaluate_every=25", *flags]
    options = run_parser("boot", None).parse_args(given)
    defaults = RunDefaults(
        learning_rate=0.01, batch_size=32, max_steps=120, log_every=5, checkpoint_every=20
    )
    settings = RunSettings.of(options, defaults, len(VALUES))
    models, looked = [], 0

    def model() -> Model:
        models.append(network(dropout))
        return models[0]

    def validate(trained: Model) -> Mapping[str, float]:
        nonlocal looked
        looked += 1
        if 25 * looked >= stop_at > 0:
            raise Interrupted
        return evaluate(trained.loss_fn, [POINTS, VALUES])

    metrics = run(
        input_fn=lambda: dataset(kind, settings, output.parent / "data" / "points.csv"),
        model_fn=model,
        optimizer_fn=tf.keras.optimizers.Adam,
        evaluate_fn=lambda trained: evaluate(trained.loss_fn, [POINTS, VALUES]),
        validate_fn=validate,
        output=output,
        settings=settings,
    )
    weights = np.concatenate([one.numpy().ravel() for one in models[0].module.variables])
    return {
        "metrics": {name: metrics.get(name) for name in ("loss", "best_step", "steps")},
        "sha": hashlib.sha256(weights.tobytes()).hexdigest(),
        "weights": weights.tolist(),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=Path)
    parser.add_argument("--kind", default="one shuffle")
    parser.add_argument("--stop_at", type=int, default=0)
    parser.add_argument("--dropout", type=float, default=0.2)
    own, flags = parser.parse_known_args()
    (own.output.parent / "data").mkdir(exist_ok=True)
    found = train(own.output, own.kind, own.stop_at, own.dropout, *flags)
    print(json.dumps(found), flush=True)
