"""What data and operations say for people reaches them without TensorFlow's words around it."""

from typing import Any

import pytest

from store.errors import Changed
from training.command_line import TrainingError
from training.quiet_tensorflow import tf
from training.steps import faults


def fails_with(error: Exception) -> Any:
    def read(_: Any) -> Any:
        raise error

    return tf.data.Dataset.range(1).map(lambda n: tf.numpy_function(read, [n], tf.string))


@pytest.mark.parametrize("kind", [Changed, TrainingError])
def test_an_error_for_people_stays_one(kind: type[Exception]) -> None:
    said = "'s3://a/b: c' has changed. Begin: anew."
    with pytest.raises(TrainingError) as raised, faults.in_words():
        list(fails_with(kind(said)))
    assert str(raised.value) == said


def test_another_one_stays_what_it_is() -> None:
    with pytest.raises(tf.errors.UnknownError, match="KeyError"), faults.in_words():
        list(fails_with(KeyError("x")))


def test_too_little_memory_is_told_with_what_helps() -> None:
    with pytest.raises(TrainingError, match="--batch_size") as raised, faults.in_words():
        tf.zeros([2**20, 2**20])
    assert "[1048576,1048576] of float on CPU:0" in str(raised.value)


def test_what_xla_cannot_compile_is_told() -> None:
    decoded = tf.function(tf.io.decode_png, jit_compile=True)
    told = pytest.raises(TrainingError, match="Detected unsupported.* Leave --xla out")
    with told, faults.in_words(xla=True):
        decoded(tf.constant(b""))


def test_what_xla_says_on_a_gpu_is_cut_to_its_reason() -> None:
    """Of TensorFlow 2.21 on an H100, for a network in bfloat16."""
    text = (
        "Graph execution error:\n\nDetected at node StatefulPartitionedCall defined at (most "
        "recent call last):\n2 root error(s) found.\n  (0) INTERNAL:  Failed to analyze the "
        "computation (Failed to compute symbolic tile for (d0, d1) -> (d1, d0))\nHloModule x"
    )
    with pytest.raises(TrainingError) as raised, faults.in_words(xla=True):
        raise tf.errors.InternalError(None, None, text)
    assert "Failed to analyze the computation" in str(raised.value)
    assert "HloModule" not in str(raised.value)
    # Without XLA it is a fault of another kind.
    with pytest.raises(tf.errors.InternalError), faults.in_words():
        raise tf.errors.InternalError(None, None, text)


def test_with_xla_what_the_data_lacks_is_no_fault_of_the_compiler() -> None:
    text = "2 root error(s) found.\n  (0) INVALID_ARGUMENT:  assertion failed: [It is empty] [7]\n"
    with pytest.raises(TrainingError, match=r"^It is empty \(7\)$"), faults.in_words(xla=True):
        raise tf.errors.InvalidArgumentError(None, None, text)
