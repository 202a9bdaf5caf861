"""The networks for MNIST and how each is trained by default, for any backend of Keras.

Nothing here imports TensorFlow: with `KERAS_BACKEND=jax`, say, they train without it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from mnist_data import CLASSES, SIDE  # type: ignore[import-not-found]  # beside the boot file

from training.run_settings import COSINE, RunDefaults


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A network and how it is trained by default."""

    build: Callable[[], Any]
    """Makes the Keras model: float32 [n, 784] in 0..1 -> logits float32 [n, 10]."""
    optimizer: Callable[[Any], Any]
    """Learning rate or schedule -> Keras optimizer."""
    defaults: RunDefaults


def _softmax() -> Any:
    zeros = keras.layers.Dense(CLASSES, kernel_initializer="zeros")
    return keras.Sequential([keras.Input([SIDE * SIDE]), zeros])


def _cnn() -> Any:
    """0.99 takes little: convolutions see 7 x 7 pixels, after a stride and a pooling.

    So the second one may have more filters for the same time, and needs fewer epochs.
    """
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input([SIDE * SIDE]),
            # About mean 0 and variance 1: it learns in fewer epochs.
            layers.Rescaling(3.2, offset=-0.42),
            layers.Reshape([SIDE, SIDE, 1]),
            layers.Conv2D(24, 5, strides=2, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(48, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(CLASSES),
        ]
    )


RECIPES = {
    "cnn": Recipe(
        build=_cnn,
        optimizer=lambda rate: keras.optimizers.Adam(rate, beta_2=0.99),
        defaults=RunDefaults(
            learning_rate=0.01,
            schedule=COSINE,
            warmup=0.2,
            batch_size=128,
            epochs=2,
            log_every=20,
            checkpoint_every=500,
        ),
    ),
    # What the managed service's tutorial trained; its accuracy was about 0.87.
    "softmax": Recipe(
        build=_softmax,
        optimizer=lambda rate: keras.optimizers.SGD(rate),
        defaults=RunDefaults(
            learning_rate=0.01, batch_size=50, max_steps=1000, log_every=10, threads=1
        ),
    ),
}
