"""What an operation refuses, or Python code that reads data in a graph, as an error for people."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from training import suspects
from training.command_line import TrainingError
from training.quiet_tensorflow import tf

_OF_PYTHON = re.compile(r"\n(?:store\.errors|training\.command_line)\.\w+: (.+)")
"""The end of a traceback in TensorFlow's text, of an error that is for people."""
_OF_RECORD = re.compile(
    r"Could not parse example input|Feature: .* is required but could not be found"
    r"|Key: .*?(?=\n|\.? \[Op:|$)"
)
"""What TensorFlow says of a `tf.train.Example` that is not as the parser was told."""
_OF_PICTURE = re.compile(r"Invalid (?:PNG|JPEG|GIF|BMP)|jpeg::Uncompress failed")


@contextmanager
def in_words() -> Iterator[None]:
    """Turn TensorFlow's errors with a text for people in them into TrainingErrors."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        said = re.search(r"assertion failed: \[(.*?)\](?: \[(.*?)\])?", str(error))
        if said is None:
            raise _of_data(str(error)) or error from error
        place = f" ({said[2]})" if said[2] else ""
        raise TrainingError(f"{said[1]}{place}") from error
    except UnicodeDecodeError as error:
        # TensorFlow's error has the record in it.
        raise _of_data(error.object.decode(errors="replace")) or error from error
    except tf.errors.DataLossError as error:
        said = re.search(r"(?:corrupted|truncated) record at \d+", str(error))
        if said is None:
            raise
        raise TrainingError(
            f"A TFRecord file of the data set is damaged: {said[0]}. Write it again, or remove it."
        ) from error
    except tf.errors.OutOfRangeError as error:
        raise TrainingError(
            "The dataset that input_fn returned has no examples. Look at what it reads."
        ) from error
    except tf.errors.UnknownError as error:
        said = _OF_PYTHON.search(str(error))
        if said is None:
            raise
        raise TrainingError(said[1]) from error


def _of_data(text: str) -> TrainingError | None:
    """Return what an operation says of the data, in words; None if it is about something else."""
    if said := _OF_RECORD.search(text):
        return TrainingError(
            f"A record of the data set is not as the others: {said[0]}. Correct it, or give "
            "`features` that fit."
        )
    if _OF_PICTURE.search(text) and (found := suspects.find()):
        return TrainingError(found)
    return None
