"""Shuffled batches of a data set that fits in memory, made inside the training graph."""

from collections.abc import Sequence
from typing import Any

from training.quiet_tensorflow import tf, without_autograph


class ShuffledBatches:
    """Batch number -> batch, each epoch in an order of its own.

    A batch depends on nothing but its number and the seed, so a run that goes on from a
    checkpoint sees what an undisturbed one would have seen. No example is left out or seen twice
    in an epoch; a batch may end one epoch and begin the next.

    Args:
        tensors: arrays with the same first dimension, the number of examples.
    """

    def __init__(self, tensors: Sequence[Any], batch_size: int, seed: int) -> None:
        # They stay in the machine's memory: a GPU gets a batch at a time.
        with tf.device("CPU"):
            self._tensors = [tf.constant(tensor) for tensor in tensors]
        self._examples = len(tensors[0])
        self._batch_size = batch_size
        self._seed = seed

    @without_autograph
    def __call__(
        self, number: "tf.Tensor", share: "tf.Tensor | int" = 0, shares: int = 1
    ) -> "list[tf.Tensor]":
        """Return a share of batch `number` (int64 scalar, from 0): a tensor for each given one.

        Args:
            share: which one, from 0.
            shares: how many equal ones the batch has.
        """
        size = self._batch_size // shares
        first = number * self._batch_size + tf.cast(share, tf.int64) * size
        positions = first + tf.range(size, dtype=tf.int64)
        epochs, within = positions // self._examples, positions % self._examples
        seeds = tf.stack(
            [tf.zeros_like(epochs) + self._seed, epochs, tf.zeros_like(epochs)], axis=1
        )
        # The public index_shuffle takes no seed for each index, the operation below it does.
        chosen = tf.raw_ops.RandomIndexShuffle(
            index=within, seed=seeds, max_index=tf.constant(self._examples - 1, tf.int64)
        )
        return [tf.gather(tensor, chosen) for tensor in self._tensors]
