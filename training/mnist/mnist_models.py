"""The networks for MNIST as the trainer takes them: with their loss and signatures."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from training.evaluation import classification_scalars
from training.quiet_tensorflow import tf
from training.trainer import Model

# isort: split
# After TensorFlow, which Keras would load with all its chatter.
from mnist_networks import RECIPES, Recipe  # type: ignore[import-not-found]  # beside the boot file
from mnist_signatures import ABOUT, samples, signatures  # type: ignore[import-not-found]

__all__ = ["RECIPES", "model_of", "predictions"]

_BATCH_SIZE = 1000


def model_of(recipe: Recipe, digits: "np.ndarray") -> Model:
    """Build a recipe's network, and what is trained and served of it.

    Args:
        recipe: which network.
        digits: some pictures of MNIST, uint8 [n, 784], to try the model with.
    """
    network: Any = recipe.build()

    def loss_fn(
        images: "tf.Tensor", labels: "tf.Tensor", training: bool
    ) -> "Mapping[str, tf.Tensor]":
        # uint8 0..255 as the files have them; the network takes 0..1.
        logits = network(tf.cast(images, tf.float32) / 255.0, training=training)
        return classification_scalars(logits, labels)

    return Model(
        module=network,
        loss_fn=loss_fn,
        signatures=signatures(network),
        about=ABOUT,
        samples=samples(digits),
    )


def predictions(network: Any, images: Any) -> "np.ndarray":
    """Return the digits, int64 [n], that a network takes uint8 `images` [n, 784] for."""

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def digits(some: "tf.Tensor") -> "tf.Tensor":
        return tf.argmax(network(tf.cast(some, tf.float32) / 255.0, training=False), axis=-1)

    batches = range(0, len(images), _BATCH_SIZE)
    return np.concatenate([digits(images[first : first + _BATCH_SIZE]) for first in batches])
