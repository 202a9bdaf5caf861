"""Batches made in the graph: every example once an epoch, in an order that the seed decides."""

import numpy as np

from training.batches import ShuffledBatches
from training.quiet_tensorflow import tf

EXAMPLES, BATCH = 10, 4


def drawn(seed: int, count: int) -> list[int]:
    batches = ShuffledBatches([np.arange(EXAMPLES), np.arange(EXAMPLES) * 2], BATCH, seed)
    chosen: list[int] = []
    for number in range(count):
        first, second = batches(tf.constant(number, tf.int64))
        assert (second.numpy() == 2 * first.numpy()).all()
        chosen += first.numpy().tolist()
    return chosen


def test_each_epoch_has_every_example_once_in_another_order() -> None:
    chosen = drawn(seed=1, count=10)
    epochs = [chosen[first : first + EXAMPLES] for first in range(0, 4 * EXAMPLES, EXAMPLES)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(EXAMPLES))
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_the_seed_decides_the_order() -> None:
    assert drawn(seed=1, count=3) == drawn(seed=1, count=3)
    assert drawn(seed=1, count=3) != drawn(seed=2, count=3)


def test_equal_shares_make_up_the_batch() -> None:
    batches = ShuffledBatches([np.arange(EXAMPLES)], BATCH, 1)
    number = tf.constant(2, tf.int64)
    (whole,) = batches(number)
    shares = [batches(number, tf.constant(share), 2)[0] for share in range(2)]
    assert tf.concat(shares, axis=0).numpy().tolist() == whole.numpy().tolist()
