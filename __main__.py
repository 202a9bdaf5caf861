"""The Pulumi program: configuration in, resources of `infra.program`, stack outputs out."""

import atexit
import gc
import signal
import sys

# A collection over the SDK's thousands of classes finds nothing. While they are imported, and again
# when the program ends, collections took a third of its time.
gc.disable()
atexit.register(gc.freeze)

import pulumi  # noqa: E402

from infra.program import stack  # noqa: E402
from infra.settings import configuration  # noqa: E402

_ERROR_SHOWN = 32
"""Exit status by which Pulumi knows that the program has said why it ended. Of any other it would
add that "an unhandled error occurred"."""

# When a resource fails, Pulumi interrupts the program; a traceback would bury the resource's error.
signal.signal(signal.SIGINT, signal.SIG_DFL)

try:
    for name, value in stack.build(configuration.load()).items():
        pulumi.export(name, value)
except pulumi.RunError as error:
    pulumi.log.error(str(error))
    sys.exit(_ERROR_SHOWN)
