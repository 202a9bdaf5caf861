"""The signatures with which the exported model is served. Clients depend on every name here."""

from typing import Any

import numpy as np
from mnist_data import CLASSES, SIDE  # type: ignore[import-not-found]  # beside the boot file
from mnist_pictures import read_digits  # type: ignore[import-not-found]

from training.quiet_tensorflow import tf

_NAMES = [str(digit) for digit in range(CLASSES)]

ABOUT = {
    "title": "Handwritten digits",
    "inputs": {
        "images": {
            "description": f"{SIDE} x {SIDE} pixels row by row, a white digit on black",
            "range": [0, 1],
        },
        "image_bytes": {
            "description": "A picture of one digit: a drawing, a scan or a photo",
            "drawing": True,
        },
    },
    "outputs": {
        "predictions": {"description": "The digit", "labels": _NAMES},
        "probabilities": {"description": "How sure the model is of each digit", "labels": _NAMES},
    },
}
"""What the page and the client say of the model (docs/contracts.md)."""

_MARGIN = [[0, 0], [30, 50], [40, 20], [0, 0]]
"""Pixels around drawings."""


def samples(images: "np.ndarray") -> dict[str, Any]:
    """Return requests of digits as MNIST has them: uint8 [n, 784], n above 1.

    A server that has answered them is ready for the first picture, whatever kind it is: a small one
    of MNIST's own, or a drawing on paper that has to be looked for.
    """
    digits = tf.reshape(images, [-1, SIDE, SIDE, 1])
    paper = 255 - tf.image.resize(digits, [4 * SIDE, 4 * SIDE], "nearest")
    drawings = tf.image.grayscale_to_rgb(tf.pad(paper, _MARGIN, constant_values=255))
    encoded = [
        *(tf.io.encode_png(one) for one in (digits[0], drawings[0])),
        tf.io.encode_jpeg(drawings[1]),
    ]
    rows = {"images": images / np.float32(255)}
    return {
        "image_bytes": {"image_bytes": encoded},
        "predict_object": rows,
        "serving_default": rows,
    }


def signatures(model: Any) -> dict[str, Any]:
    """Return signature name -> tf.function for a model of float32 [n, 784] -> logits [n, 10]."""
    pictures = tf.TensorSpec([None, SIDE * SIDE], tf.float32, name="images")
    encoded = tf.TensorSpec([None], tf.string, name="image_bytes")

    def classify(images: "tf.Tensor") -> "dict[str, tf.Tensor]":
        # A model of mixed precision answers in 16 bits.
        logits = tf.cast(model(images), tf.float32)
        return {
            "predictions": tf.argmax(logits, axis=-1, output_type=tf.int64),
            "probabilities": tf.nn.softmax(logits),
        }

    @tf.function(input_signature=[pictures])  # type: ignore[untyped-decorator]
    def predict_object(images: "tf.Tensor") -> "dict[str, tf.Tensor]":
        return {"predictions": classify(images)["predictions"]}

    @tf.function(input_signature=[pictures])  # type: ignore[untyped-decorator]
    def serving_default(images: "tf.Tensor") -> "dict[str, tf.Tensor]":
        return classify(images)

    @tf.function(input_signature=[encoded])  # type: ignore[untyped-decorator]
    def image_bytes(image_bytes: "tf.Tensor") -> "dict[str, tf.Tensor]":
        return classify(read_digits(image_bytes))

    return {
        "predict_object": predict_object,
        "serving_default": serving_default,
        "image_bytes": image_bytes,
    }
