"""Operations that TensorFlow does not have: their libraries, and models that lack one."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from ..errors import Code, InvalidArgument, ServingError
from . import c_api

log = logging.getLogger(__name__)

_NOT_REGISTERED = re.compile(r"Op type not registered '([^']+)'")


class MissingOperation(ServingError):
    """A model uses an operation that no library has: loading it again can't help."""

    def __init__(self, name: str, error: ServingError) -> None:
        super().__init__(
            error.code,
            f"The model uses the operation '{name}', which TensorFlow does not have. Name the "
            "library that has it with --custom_op_libraries, of a stack with "
            "dlstack:servingOpLibraries, such as TensorFlow Text's for its "
            # What follows the first sentence is about TensorFlow 1.
            f"tokenizers. TensorFlow says: {error.message.split('. ')[0]}.",
        )


def explained(error: ServingError) -> ServingError:
    """Return what a load that failed with `error` should fail with."""
    match = _NOT_REGISTERED.search(error.message) if error.code == Code.NOT_FOUND else None
    return MissingOperation(match[1], error) if match else error


def load_libraries(paths: str) -> None:
    """Load libraries with operations, once and before the first model.

    Args:
        paths: of shared libraries, or of folders: all `*.so` in and below them; with commas between
            them.

    Raises:
        InvalidArgument: there is no such library, or TensorFlow can't load it.
    """
    libraries: list[Path] = []
    for path in map(Path, filter(None, paths.split(","))):
        found = sorted(path.rglob("*.so")) if path.is_dir() else [path] if path.is_file() else []
        if not found:
            raise InvalidArgument(
                f"--custom_op_libraries: '{path}' is neither a library nor a folder with *.so "
                "files. Give paths that are there, separated by commas."
            )
        libraries += found
    for library in libraries:
        try:
            c_api.load_operations(library)
        except ServingError as error:
            raise InvalidArgument(
                f"--custom_op_libraries: TensorFlow {c_api.version()} can't load '{library}'. Use "
                f"one that was built for this version. {error.message}"
            ) from None
    if libraries:
        log.info("Loaded operations from %s", ", ".join(library.name for library in libraries))
