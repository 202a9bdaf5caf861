"""Models for MNIST and how each is trained by default."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mnist_data import CLASSES, SIDE  # type: ignore[import-not-found]  # beside the boot file

from training.quiet_tensorflow import tf


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A model and its defaults; a flag of the boot file replaces each number."""

    build: Callable[[], Any]
    """Makes the Keras model: float32 [n, 784] in 0..1 -> logits float32 [n, 10]."""
    optimizer: Callable[[Any], Any]
    """Learning rate or schedule -> Keras optimizer."""
    one_cycle: bool
    """Whether the learning rate rises to its value and falls again, or stays as it is."""
    learning_rate: float
    batch_size: int
    epochs: float | None = None
    max_steps: int | None = None
    log_every: int
    checkpoint_every: int
    threads: int = 0
    """How many an operation may use; 0: all. Handing over a step of 0.1 ms takes longer than it."""


def _softmax() -> Any:
    zeros = tf.keras.layers.Dense(CLASSES, kernel_initializer="zeros")
    return tf.keras.Sequential([tf.keras.Input([SIDE * SIDE]), zeros])


def _cnn() -> Any:
    """0.99 takes little: a stride in the first layer costs no accuracy here and halves the time."""
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            tf.keras.Input([SIDE * SIDE]),
            layers.Reshape([SIDE, SIDE, 1]),
            layers.Conv2D(16, 5, strides=2, padding="same", activation="relu"),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(CLASSES),
        ]
    )


RECIPES = {
    "cnn": Recipe(
        build=_cnn,
        optimizer=lambda rate: tf.keras.optimizers.Adam(rate, beta_2=0.99),
        one_cycle=True,
        learning_rate=0.01,
        batch_size=128,
        epochs=3,
        log_every=20,
        checkpoint_every=500,
    ),
    # What the managed service's tutorial trained; its accuracy was about 0.87.
    "softmax": Recipe(
        build=_softmax,
        optimizer=lambda rate: tf.keras.optimizers.SGD(rate),
        one_cycle=False,
        learning_rate=0.01,
        batch_size=50,
        max_steps=1000,
        log_every=10,
        checkpoint_every=1000,
        threads=1,
    ),
}


def one_cycle(peak: float, steps: int) -> Any:
    """Return the schedule that rises linearly for a fifth of `steps`, then falls like a cosine."""
    rise = max(1, steps // 5)

    class OneCycle(tf.keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
        def __call__(self, step: "tf.Tensor") -> "tf.Tensor":
            at = tf.cast(step, tf.float32)
            falling = (at - rise) / max(1, steps - rise)
            return peak * tf.where(
                at < rise,
                0.1 + 0.9 * at / rise,
                0.01 + 0.99 * (1 + tf.cos(math.pi * tf.minimum(falling, 1.0))) / 2,
            )

        def get_config(self) -> dict[str, float]:
            return {"peak": peak, "steps": steps}

    return OneCycle()


def scaled(images: "tf.Tensor") -> "tf.Tensor":
    """Return pictures as the models take them: uint8 0..255 -> float32 0..1."""
    return tf.cast(images, tf.float32) / 255.0
