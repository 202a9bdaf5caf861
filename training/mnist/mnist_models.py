"""The networks for MNIST as the trainer takes them: with their loss and signatures."""

from collections.abc import Mapping
from typing import Any

from training.evaluation import classification_scalars
from training.quiet_tensorflow import tf
from training.trainer import Model

# isort: split
# After TensorFlow, which Keras would load with all its chatter.
from mnist_networks import RECIPES, Recipe  # type: ignore[import-not-found]  # beside the boot file
from mnist_signatures import ABOUT, signatures  # type: ignore[import-not-found]

__all__ = ["RECIPES", "model_of"]


def model_of(recipe: Recipe) -> Model:
    """Build a recipe's network, and what is trained and served of it."""
    network: Any = recipe.build()

    def loss_fn(
        images: "tf.Tensor", labels: "tf.Tensor", training: bool
    ) -> "Mapping[str, tf.Tensor]":
        # uint8 0..255 as the files have them; the network takes 0..1.
        logits = network(tf.cast(images, tf.float32) / 255.0, training=training)
        return classification_scalars(logits, labels)

    return Model(module=network, loss_fn=loss_fn, signatures=signatures(network), about=ABOUT)
