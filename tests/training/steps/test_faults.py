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
