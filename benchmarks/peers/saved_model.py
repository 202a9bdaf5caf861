"""The same SavedModel for every peer, called as TensorFlow's own documentation does.

Run by the peers' interpreters, in environments of their own: they see nothing of this repository.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

MODEL = os.environ["BENCHMARK_MODEL"]
"""Folder of the SavedModel."""

PORT = int(os.environ["BENCHMARK_PORT"])

MOST_ROWS = 64
"""A batch: the most rows that ask at the same time."""

BATCH_SECONDS = float(os.environ.get("BENCHMARK_BATCH_SECONDS", "0.001"))
"""How long a request waits for others."""


class Model:
    """float32 [n, 784] -> float32 [n, 10]."""

    def __init__(self) -> None:
        self._module = tf.saved_model.load(MODEL)
        self._signature = self._module.signatures["serving_default"]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return the probabilities."""
        return self._signature(images=tf.constant(images))["probabilities"].numpy()


def from_bytes(content: bytes) -> np.ndarray:
    """Return pictures from the bytes of their float32 pixels."""
    return np.frombuffer(content, np.float32).reshape(-1, 784)
