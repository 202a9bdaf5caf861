"""What an operation refuses, or Python code that reads data in a graph, as an error for people."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

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
_OF_MEMORY = re.compile(
    r"OOM when allocating tensor with shape(?P<shape>\[[\d,]*\]) and type (?P<type>\w+) on "
    r"\S*device:(?P<device>\w+:\d+)|(?P<xla>Out of memory while trying to allocate [\w.]+)"
)
_OF_XLA = (tf.errors.InternalError, tf.errors.UnimplementedError, tf.errors.InvalidArgumentError)
_OF_COMPILER = re.compile(
    r"(?<=\(0\) )(?:INTERNAL|UNIMPLEMENTED): .+|Detected unsupported operations.+"
)
"""As what, and how, XLA says that it can't compile something: the first line, cut at `_LONGEST`."""
_LONGEST = 300
_OF_PICTURE = re.compile(r"Invalid (?:PNG|JPEG|GIF|BMP)|jpeg::Uncompress failed")


@contextmanager
def in_words(*, xla: bool = False) -> Iterator[None]:
    """Turn TensorFlow's errors with a text for people in them into TrainingErrors.

    Args:
        xla: whether XLA compiles the steps.
    """
    try:
        with _of_xla() if xla else nullcontext():
            yield
    except tf.errors.ResourceExhaustedError as error:
        said = _OF_MEMORY.search(str(error))
        if said is None:
            raise
        what = said["xla"] or f"{said['shape']} of {said['type']} on {said['device']}"
        raise TrainingError(
            f"A step needs more memory than is free: {what}. Give a smaller --batch_size, or a "
            "flavour with more memory."
        ) from error
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


@contextmanager
def _of_xla() -> Iterator[None]:
    try:
        yield
    except _OF_XLA as error:
        said = _OF_COMPILER.search(str(error))
        if said is None:
            raise
        raise TrainingError(
            f"XLA can't compile a step of this model here: {said[0][:_LONGEST]} Leave --xla out. "
            "On a GPU, the variable XLA_FLAGS=--xla_gpu_enable_triton_gemm=false may help as well."
        ) from error


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
