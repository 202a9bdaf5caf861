"""`python3 -m serving`: the flags of `tensorflow_model_server`, its messages and exit statuses."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from . import config, logs
from .errors import ServingError

_START_FAILED = 255
_FRONT_END_LOST = 1


def main(arguments: Sequence[str]) -> int:
    """Serve until told to stop; return the exit status."""
    logs.configure()
    try:
        command_line = config.parse(arguments)
    except config.UsageError as error:
        print(error)
        return _START_FAILED
    except ServingError as error:
        print(f"Failed to start server. Error: {error}", flush=True)
        return _START_FAILED
    for warning in command_line.warnings:
        print(warning)
    # TensorFlow's libraries take 0.4 s to load; --help and a mistyped flag need not wait for them.
    from .engine import c_api, operations

    if command_line.config.version:
        print(f"TensorFlow ModelServer compatible: dlstack\nTensorFlow Library: {c_api.version()}")
        return 0
    c_api.skip_tensorflow_import()
    from . import server

    try:
        operations.load_libraries(command_line.config.custom_op_libraries)
        server.run(command_line.config)
    except ServingError as error:
        print(f"Failed to start server. Error: {error}", flush=True)
        return _START_FAILED
    except server.FrontEndLostError:
        return _FRONT_END_LOST
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # TensorFlow's and gRPC's threads still run: the usual tear-down of the interpreter would race
    # with them.
    os._exit(status)
