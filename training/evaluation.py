"""Loss and accuracy of a classifier, in one step of training or over a whole data set."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from training.command_line import TrainingError
from training.quiet_tensorflow import tf, without_autograph, without_autotune

_BATCH_SIZE = 1000


@without_autograph
def classification_scalars(logits: "tf.Tensor", labels: "tf.Tensor") -> "dict[str, tf.Tensor]":
    """Return `loss`, the mean cross-entropy, and `accuracy`, the share of right answers.

    Args:
        logits: [n, classes]; computed with in float32, whatever their type.
        labels: integers [n].
    """
    logits = tf.cast(logits, tf.float32)
    right = tf.equal(tf.argmax(logits, axis=-1), tf.cast(labels, tf.int64))
    return {
        "loss": tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)),
        "accuracy": tf.reduce_mean(tf.cast(right, tf.float32)),
    }


def evaluate(
    loss_fn: "Callable[..., Mapping[str, tf.Tensor]]", data: "Sequence[Any] | tf.data.Dataset"
) -> dict[str, float]:
    """Return the means of `loss_fn`'s scalars over a data set.

    Args:
        loss_fn: that of `training.trainer.Model`; called with `training=False`.
        data: what it takes: arrays of all examples, with equal first dimensions, or a dataset of
            batches that ends.

    Raises:
        TrainingError: there are no examples.
    """
    measure = _measure(loss_fn)
    total, sums = 0, dict[str, float]()
    for some in _batches(data):
        count = _count(some)
        total += count
        for name, mean in measure(*some).items():
            sums[name] = sums.get(name, 0.0) + float(mean) * count
    if not total:
        raise TrainingError("The data set to evaluate with has no examples. Give it some.")
    # Rounded: the means are float32, the count of right answers is exact to far less.
    return {name: round(value / total, 6) for name, value in sums.items()}


@lru_cache(maxsize=8)
def _measure(loss_fn: "Callable[..., Mapping[str, tf.Tensor]]") -> Any:
    """Return a graph, which an evaluation in the middle of a training uses again."""

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def measure(*some: "tf.Tensor") -> "Mapping[str, tf.Tensor]":
        return loss_fn(*some, training=False)

    return measure


def _batches(data: "Sequence[Any] | tf.data.Dataset") -> Iterator[Sequence[Any]]:
    if isinstance(data, tf.data.Dataset):
        for batch in without_autotune(data):
            yield batch if isinstance(batch, tuple) else (batch,)
        return
    for first in range(0, len(data[0]), _BATCH_SIZE):
        yield [tf.constant(array[first : first + _BATCH_SIZE]) for array in data]


def _count(batch: Sequence[Any]) -> int:
    return int(tf.nest.flatten(batch)[0].shape[0])
