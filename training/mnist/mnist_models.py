"""Models for MNIST and how each is trained by default."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mnist_data import CLASSES, SIDE  # type: ignore[import-not-found]  # beside the boot file
from mnist_signatures import signatures  # type: ignore[import-not-found]

from training.evaluation import classification_scalars
from training.quiet_tensorflow import tf
from training.run_settings import RunDefaults
from training.trainer import Model


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A model and how it is trained by default."""

    build: Callable[[], Any]
    """Makes the Keras model: float32 [n, 784] in 0..1 -> logits float32 [n, 10]."""
    optimizer: Callable[[Any], Any]
    """Learning rate or schedule -> Keras optimizer."""
    learning_rate: Callable[[float, int], Any]
    """Its highest value, and the number of steps -> learning rate or schedule."""
    defaults: RunDefaults

    def model(self) -> Model:
        """Make the model as the trainer takes it."""
        network = self.build()

        def loss_fn(
            images: "tf.Tensor", labels: "tf.Tensor", training: bool
        ) -> "Mapping[str, tf.Tensor]":
            # uint8 0..255 as the files have them; the model takes 0..1.
            logits = network(tf.cast(images, tf.float32) / 255.0, training=training)
            return classification_scalars(logits, labels)

        return Model(module=network, loss_fn=loss_fn, signatures=signatures(network))


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


RECIPES = {
    "cnn": Recipe(
        build=_cnn,
        optimizer=lambda rate: tf.keras.optimizers.Adam(rate, beta_2=0.99),
        learning_rate=one_cycle,
        defaults=RunDefaults(
            learning_rate=0.01, batch_size=128, epochs=3, log_every=20, checkpoint_every=500
        ),
    ),
    # What the managed service's tutorial trained; its accuracy was about 0.87.
    "softmax": Recipe(
        build=_softmax,
        optimizer=lambda rate: tf.keras.optimizers.SGD(rate),
        learning_rate=lambda value, _: value,
        defaults=RunDefaults(
            learning_rate=0.01, batch_size=50, max_steps=1000, log_every=10, threads=1
        ),
    ),
}
