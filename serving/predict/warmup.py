"""Warm-up: requests recorded in a version's folder, run before the version is AVAILABLE.

Follows TensorFlow Serving's `servables/tensorflow/saved_model_warmup_util.cc` and
`saved_model_warmup.cc`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tensorflow_serving.apis import prediction_log_pb2

from .. import metrics
from ..budget import Budget
from ..errors import Code, InvalidArgument, ServingError, Unimplemented, as_serving_error
from ..event_loop import EventLoop
from ..models.version import Version
from . import examples, predict, tf_records
from .call import Call
from .call import run as run_call

log = logging.getLogger(__name__)

REQUESTS_FILE = Path("assets.extra", "tf_serving_warmup_requests")
_MAX_RECORDS = 1000
_MOST_BYTES = 2**63


def run(version: Version, iterations: int) -> None:
    """Run every record of the version's file, each `iterations` times; no file: nothing.

    Raises:
        ServingError: a record can't be read, or its request fails; the version must not serve.
    """
    path = version.path / REQUESTS_FILE
    if not path.is_file():
        log.info("No warmup data file found at %s", path)
        return
    started = time.perf_counter()
    status, count = "OK", 0
    try:
        with EventLoop("warm-up") as loop:
            for entry in read(path):
                count += 1
                for _ in range(iterations):
                    _run(loop, version, call_of(version, entry))
    except Exception as failure:
        error = as_serving_error(failure)
        status = error.code.name
        if error.code == Code.DATA_LOSS:
            text = f"{error.message}. Please verify your warmup data is in TFRecord format."
            raise ServingError(Code.DATA_LOSS, text) from None
        raise error from None
    finally:
        seconds = time.perf_counter() - started
        metrics.WARMUP_LATENCY.add(seconds * 1e6, str(version.path), status)
        metrics.WARMUP_RECORDS.add(str(version.path), status, amount=count)
    log.info(
        "Finished reading warmup data for model at %s. Number of warmup records read: %d. "
        "Elapsed time (microseconds): %d.",
        path,
        count,
        seconds * 1e6,
    )


def read(path: Path) -> Iterator[prediction_log_pb2.PredictionLog]:
    """Yield the records of a file.

    Raises:
        ServingError: it is no such file, one of its records is none, or they are too many.
    """
    for number, record in enumerate(tf_records.read(path)):
        if number == _MAX_RECORDS:
            raise InvalidArgument(
                f"Number of warmup records exceeds the maximum ({_MAX_RECORDS}) at {path}"
            )
        yield _parse(record, path)


def _parse(record: bytes, path: Path) -> prediction_log_pb2.PredictionLog:
    try:
        return prediction_log_pb2.PredictionLog.FromString(record)
    except DecodeError:
        shown = record[:100].decode(errors="replace")
        raise InvalidArgument(f"Failed to parse warmup record: {shown} from {path}") from None


def call_of(version: Version, entry: prediction_log_pb2.PredictionLog) -> Call[Any]:
    """Return what a record asks of a version.

    Raises:
        ServingError: it asks for nothing that a version can do.
    """
    kind = entry.WhichOneof("log_type")
    if kind not in _READERS:
        raise Unimplemented(f"Unsupported log_type for warmup: {kind}")
    return _READERS[kind](version, getattr(entry, kind).request)


def _run(loop: EventLoop, version: Version, call: Call[Any]) -> None:
    # Not of the requests' memory: none of them waits yet.
    with Budget(_MOST_BYTES).hold() as hold:
        call.answer(loop.run(run_call(loop, version, call, hold)))


_READERS: dict[str | None, Callable[[Version, Any], Call[Any]]] = {
    "predict_log": lambda version, message: predict.read(version, predict.Request(message)),
    "classify_log": examples.read_classification,
    "regress_log": examples.read_regression,
    "multi_inference_log": examples.read_multi_inference,
}
