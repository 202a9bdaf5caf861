"""Train MNIST's networks on another backend of Keras, without TensorFlow: for a GPU machine, say.

    KERAS_BACKEND=jax python benchmarks/keras_backends.py [--model cnn] [--data data/mnist]

The networks, their optimizers, schedules and defaults are those of the training job
(`training/mnist/mnist_networks.py`); the loop is Keras' `fit`. It needs `keras`, `numpy` and the
backend (`jax`, or `jax[cuda13]` for GPUs; `torch`), in an environment of their own, and the MNIST
files (`make data`). Printed are the device, the speed with and without the first epoch, which
compiles, and the accuracy on the test pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "training" / "mnist")]
os.environ.setdefault("KERAS_BACKEND", "jax")

import keras  # noqa: E402
import numpy as np  # noqa: E402
from mnist_data import read_mnist  # type: ignore[import-not-found]  # noqa: E402
from mnist_networks import RECIPES  # type: ignore[import-not-found]  # noqa: E402

from training.schedules import learning_rate  # noqa: E402

#: So many steps in one call: Python takes longer for it than a GPU for a step.
STEPS_PER_CALL = 16


class EpochTimes(keras.callbacks.Callback):  # type: ignore[misc]
    """When each epoch ended, in seconds from the beginning of the training."""

    def on_train_begin(self, logs: Any = None) -> None:
        self._began = time.perf_counter()
        self.seconds: list[float] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds.append(time.perf_counter() - self._began)
        print(f"epoch {epoch + 1}  loss {logs['loss']:.4f}  {self.seconds[-1]:.1f} s", flush=True)


def device() -> str:
    """Describe what the backend computes on."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return ", ".join(f"{one.platform} {one.device_kind}" for one in jax.devices())
    if backend == "torch":
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return ", ".join(keras.distribution.list_devices())


def train(name: str, data: Path, epochs: int | None, precision: str | None) -> dict[str, Any]:
    """Train once; return the figures."""
    recipe = RECIPES[name]
    defaults = recipe.defaults
    training, test = read_mnist(data, str(data))
    steps_per_epoch = len(training.labels) // defaults.batch_size
    count = epochs or int(defaults.epochs or max(1, defaults.max_steps // steps_per_epoch))
    keras.utils.set_random_seed(0)
    if precision:
        keras.mixed_precision.set_global_policy(f"mixed_{precision}")
    network = recipe.build()
    total = count * steps_per_epoch
    rate = learning_rate(defaults.learning_rate, total, defaults.schedule, defaults.warmup)
    network.compile(
        recipe.optimizer(rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=STEPS_PER_CALL,
    )
    times = EpochTimes()
    network.fit(
        training.images.astype(np.float32) / 255,
        training.labels,
        batch_size=defaults.batch_size,
        epochs=count,
        verbose=0,
        callbacks=[times],
    )
    logits = network.predict(test.images.astype(np.float32) / 255, batch_size=1000, verbose=0)
    steps = -(-len(training.labels) // defaults.batch_size)
    rest = times.seconds[-1] - times.seconds[0]
    return {
        "backend": keras.backend.backend(),
        "device": device(),
        "model": name,
        "precision": precision or "float32",
        "epochs": count,
        "seconds": round(times.seconds[-1], 2),
        "steps_per_second": round(count * steps / times.seconds[-1], 1),
        "steps_per_second_compiled": round((count - 1) * steps / rest, 1) if count > 1 else None,
        "accuracy": round(float(np.mean(np.argmax(logits, axis=-1) == test.labels)), 4),
        "tensorflow_loaded": "tensorflow" in sys.modules,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description="Train MNIST's networks on any backend of Keras (KERAS_BACKEND; default: jax)."
    )
    parser.add_argument("--model", choices=tuple(RECIPES), default="cnn", help="default: cnn")
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "mnist", help="MNIST's folder")
    parser.add_argument("--epochs", type=int, help="default: the model's")
    parser.add_argument("--mixed_precision", choices=("bfloat16", "float16"))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    found = train(options.model, options.data, options.epochs, options.mixed_precision)
    for name, value in found.items():
        print(f"{name:26} {value}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
