"""A boot file for tests of Keras' `fit` by several workers: `python -m … OUTPUT …`.

It prints a JSON object: the history, a digest of the weights, and how often `apply` was called.
"""

import argparse
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from training import keras_workers
from training.keras_callback import JobCallback
from training.quiet_tensorflow import tf

POINTS = np.random.default_rng(5).normal(size=(480, 4)).astype("float32")
VALUES = (POINTS @ [1.0, -2.0, 0.5, 0.0] + np.abs(POINTS[:, 0])).astype("float32")[:, None]


class Interrupted(Exception):
    """What a kill would be."""


class Stop(tf.keras.callbacks.Callback):  # type: ignore[misc]
    """Ends the process in an epoch."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self._epoch = epoch

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == self._epoch:
            raise Interrupted


parser = argparse.ArgumentParser()
parser.add_argument("output", type=Path)
parser.add_argument("--stop_at", type=int, default=-1)
parser.add_argument("--without_workers", action="store_true")
options = parser.parse_args()

with keras_workers.joined() as workers:
    layers = tf.keras.layers
    if not workers.is_chief:
        # Other first weights: the chief's count.
        tf.keras.utils.set_random_seed(99)
    model = tf.keras.Sequential(
        [tf.keras.Input([4]), layers.Dense(16, activation="relu"), layers.Dense(1)]
    )
    tf.keras.utils.set_random_seed(1)
    # Not shuffled: `fit` shuffles the epochs after a restart anew.
    dataset = tf.data.Dataset.from_tensor_slices((POINTS, VALUES)).batch(32)
    model.compile(tf.keras.optimizers.Adam(0.01, clipnorm=1.0), "mse", metrics=["mae"])
    given = None if options.without_workers else workers
    job = JobCallback(options.output, model, log_every=5, workers=given)
    early = tf.keras.callbacks.EarlyStopping("val_loss", min_delta=0.05, patience=2)
    history = workers.fit(
        model,
        dataset,
        validation_data=(POINTS, VALUES),
        epochs=12,
        initial_epoch=job.first_epoch,
        callbacks=[job, early, Stop(options.stop_at)],
        verbose=0,
    )
    weights = np.concatenate([one.ravel() for one in model.get_weights()])
    found = {
        "losses": history.history["val_loss"],
        "training": history.history["loss"],
        "sha": hashlib.sha256(weights.tobytes()).hexdigest(),
        "weights": weights.tolist(),
        "files": sorted(os.listdir(options.output)) if options.output.exists() else [],
    }
print(json.dumps(found), flush=True)
