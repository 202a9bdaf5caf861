"""What an operation refuses, or Python code that reads data in a graph, as an error for people."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from training.command_line import TrainingError
from training.quiet_tensorflow import tf

_OF_PYTHON = re.compile(r"\n(?:store\.errors|training\.command_line)\.\w+: (.+)")
"""The end of a traceback in TensorFlow's text, of an error that is for people."""


@contextmanager
def in_words() -> Iterator[None]:
    """Turn TensorFlow's errors with a text for people in them into TrainingErrors."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        said = re.search(r"assertion failed: \[(.*?)\](?: \[(.*?)\])?", str(error))
        if said is None:
            raise
        place = f" ({said[2]})" if said[2] else ""
        raise TrainingError(f"{said[1]}{place}") from error
    except tf.errors.OutOfRangeError as error:
        raise TrainingError(
            "The dataset that input_fn returned has no examples. Look at what it reads."
        ) from error
    except tf.errors.UnknownError as error:
        said = _OF_PYTHON.search(str(error))
        if said is None:
            raise
        raise TrainingError(said[1]) from error
