"""Loss and accuracy of a classifier, in one step of training or over a whole data set."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from training.quiet_tensorflow import tf, without_autograph

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
    loss_fn: "Callable[..., Mapping[str, tf.Tensor]]", arrays: Sequence[Any]
) -> dict[str, float]:
    """Return the means of `loss_fn`'s scalars over a data set.

    Args:
        loss_fn: that of `training.trainer.Model`; called with `training=False`.
        arrays: what it takes, for all examples: equal first dimensions.
    """

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def measure(*some: "tf.Tensor") -> "Mapping[str, tf.Tensor]":
        return loss_fn(*some, training=False)

    total = len(arrays[0])
    sums: dict[str, float] = {}
    for first in range(0, total, _BATCH_SIZE):
        some = [tf.constant(array[first : first + _BATCH_SIZE]) for array in arrays]
        for name, mean in measure(*some).items():
            sums[name] = sums.get(name, 0.0) + float(mean) * len(some[0])
    # Rounded: the means are float32, the count of right answers is exact to far less.
    return {name: round(value / total, 6) for name, value in sums.items()}
