"""`python3 -m serving.check MODEL_DIR`: the command and its exit statuses."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ..engine import c_api

if TYPE_CHECKING:
    from .model import Model

REFUSED = 1
USAGE = 2
CANT_TELL = 3
"""Neither good nor bad can be said of the model here."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"error: {message}. See '{self.prog} --help'.", file=sys.stderr)
        sys.exit(USAGE)


def main(arguments: Sequence[str]) -> int:
    """Say what each signature of a model does; return the exit status."""
    parser = _Parser(
        prog="python3 -m serving.check",
        description="Run each signature of a SavedModel once: on the samples in "
        "assets.extra/tf_serving_warmup_requests, else on a row made from its spec. Exit status: "
        "0 it answers; 1 it must not be served; 2 the arguments make no sense; 3 it can't be "
        "told here.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("model_dir", type=Path, help="folder with saved_model.pb")
    add("--seconds", type=float, default=600.0, help="end after this time (default: 600)")
    add("--custom_op_libraries", default="", help="as of the server: libraries with operations")
    add(
        "--engine",
        choices=("embedded", "tensorflow-serving"),
        default="embedded",
        help="which server will run it; the second one has operations that this engine lacks",
    )
    options = parser.parse_args(arguments)
    began = time.monotonic()
    if not (options.model_dir / "saved_model.pb").is_file():
        parser.error(f"'{options.model_dir}' has no saved_model.pb")
    try:
        c_api.skip_tensorflow_import()
        with _quiet(), ThreadPoolExecutor(1) as beside:
            # Each takes 0.3 s, the one of them without holding up the other.
            library = beside.submit(c_api.library)
            from . import model  # noqa: F401

            library.result()
    except (ImportError, OSError) as error:
        return _cant_tell(f"there is no TensorFlow to run it: {error}")
    return _check(options, began)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what TensorFlow logs out of stderr: what it writes while it is loaded, and later."""
    # Errors come back from the calls; beside them the C++ code would log each one, and what the
    # boot file's own TensorFlow logs is another matter.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.stderr.flush()
    stderr = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _check(options: argparse.Namespace, began: float) -> int:
    from ..engine import operations
    from ..errors import ServingError
    from .model import Model, Refused

    try:
        operations.load_libraries(options.custom_op_libraries)
    except ServingError as error:
        return _cant_tell(error.message)
    try:
        model = Model(options.model_dir, began + options.seconds)
        tries = {
            key: partial(model.try_made_up_rows, signature)
            for key, signature in model.signatures.items()
        } | _samples(model, options.model_dir)
        # Two at a time: what a first run prepares goes on beside the other.
        said = ThreadPoolExecutor(2).map(lambda one: one(), tries.values())
        for key, text in zip(tries, said, strict=True):
            print(f"Signature '{key}' {text}", flush=True)
    except operations.MissingOperation as error:
        if options.engine == "embedded":
            return _refused(error.message)
        return _cant_tell(f"the official image may have what this engine lacks. {error.message}")
    except Refused as error:
        return _refused(str(error))
    print(f"Checked the model in {time.monotonic() - began:.1f} s", flush=True)
    return 0


def _samples(model: Model, folder: Path) -> dict[str, Callable[[], str]]:
    if not (folder / "assets.extra" / "tf_serving_warmup_requests").is_file():
        return {}
    try:
        from . import samples
    except ImportError as error:
        print(f"The samples are not run, since this image has no {error.name}.", flush=True)
        return {}
    return samples.tries(model, folder)


def _refused(text: str) -> int:
    print(f"error: {text}", file=sys.stderr, flush=True)
    return REFUSED


def _cant_tell(text: str) -> int:
    print(f"The model is not checked: {text}", flush=True)
    return CANT_TELL


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    # As for the server: TensorFlow's threads still run.
    os._exit(status)
