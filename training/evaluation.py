"""Loss and accuracy of a classifier, in one step of training or over a whole data set."""

from collections.abc import Callable
from typing import Any

from training.quiet_tensorflow import tf

_BATCH_SIZE = 1000


def cross_entropy(logits: "tf.Tensor", labels: "tf.Tensor") -> "tf.Tensor":
    """Return the mean cross-entropy of logits [n, classes] and integer labels [n]."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def accuracy(logits: "tf.Tensor", labels: "tf.Tensor") -> "tf.Tensor":
    """Return the share of rows of logits [n, classes] whose highest is the label [n]."""
    right = tf.equal(tf.argmax(logits, axis=-1), tf.cast(labels, tf.int64))
    return tf.reduce_mean(tf.cast(right, tf.float32))


def evaluate(
    logits: "Callable[[tf.Tensor], tf.Tensor]", inputs: Any, labels: Any
) -> dict[str, float]:
    """Return `accuracy` and `loss` over all of `inputs` and `labels`, equal in number."""

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def measure(some: "tf.Tensor", truth: "tf.Tensor") -> "tuple[tf.Tensor, tf.Tensor]":
        found = logits(some)
        return accuracy(found, truth), cross_entropy(found, truth)

    total = len(labels)
    sums = {"accuracy": 0.0, "loss": 0.0}
    for first in range(0, total, _BATCH_SIZE):
        some, truth = inputs[first : first + _BATCH_SIZE], labels[first : first + _BATCH_SIZE]
        share, loss = measure(tf.constant(some), tf.constant(truth))
        sums["accuracy"] += float(share) * len(truth)
        sums["loss"] += float(loss) * len(truth)
    # Rounded: the shares are float32, the count of right answers is exact to far less.
    return {name: round(value / total, 6) for name, value in sums.items()}
