"""TensorFlow without its start-up chatter: `from training.quiet_tensorflow import tf`.

A job's log should begin with the job. TF_CPP_MIN_LOG_LEVEL hides what TensorFlow logs later, but
not the lines written while it is loaded; these go through a filter here.
"""

import gc
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

# Informational lines of the C++ log, the two sentences that come with them, and the "error" that
# a machine without a GPU driver gets (a driver that is there but fails has another number).
_CHATTER = re.compile(
    rb"I\d{4} |WARNING: All log messages before absl|To enable the following instructions"
    rb"|E\d{4} .*cuInit.*\(303\)"
)
_Function = TypeVar("_Function", bound=Callable[..., object])


@contextmanager
def _filtered_stderr() -> Iterator[None]:
    """Hold back what is written to file descriptor 2, then pass on all but the chatter."""
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)
            held.seek(0)
            for line in held:
                if not _CHATTER.match(line):
                    os.write(2, line)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
_collecting = gc.isenabled()
gc.disable()
with _filtered_stderr():
    import tensorflow as tf

    # Looks for GPUs now rather than at the first operation, whose output nobody filters.
    tf.config.list_physical_devices()
# Garbage collection over the modules, while they are imported and again when the process ends,
# took a second of a job of a few seconds. They stay for good, so no collection looks at them.
gc.freeze()
if _collecting:
    gc.enable()


def without_autograph(function: _Function) -> _Function:
    """Spare AutoGraph a function that has no loop or branch on a tensor.

    It would change nothing there, but takes up to 0.1 s for it: as long as hundreds of small steps.
    """
    exempt: _Function = tf.autograph.experimental.do_not_convert(function)
    return exempt


def without_autotune(dataset: "tf.data.Dataset") -> "tf.data.Dataset":
    """Return a dataset whose parallel maps have as many threads as its pool from the beginning.

    The thread that would find out how many they need sleeps for up to as long as the dataset was
    read, and at the dataset's end TensorFlow 2.21 waits for it: an epoch of 26 s took 41.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


__all__ = ["tf", "without_autograph", "without_autotune"]
