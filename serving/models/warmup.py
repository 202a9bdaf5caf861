"""Warm-up: requests recorded in a version's folder, run before the version is AVAILABLE.

Follows TensorFlow Serving's `servables/tensorflow/saved_model_warmup_util.cc` and
`saved_model_warmup.cc`.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tensorflow_serving.apis import prediction_log_pb2

from .. import metrics
from ..errors import Code, InvalidArgument, ServingError, Unimplemented, as_serving_error
from ..predict import examples, predict
from . import tf_records
from .version import Version

log = logging.getLogger(__name__)

REQUESTS_FILE = Path("assets.extra", "tf_serving_warmup_requests")
_MAX_RECORDS = 1000


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
        for record in tf_records.read(path):
            count += 1
            if count > _MAX_RECORDS:
                raise InvalidArgument(
                    f"Number of warmup records exceeds the maximum ({_MAX_RECORDS}) at {path}"
                )
            entry = _parse(record, path)
            for _ in range(iterations):
                _run(version, entry)
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


def _parse(record: bytes, path: Path) -> prediction_log_pb2.PredictionLog:
    try:
        return prediction_log_pb2.PredictionLog.FromString(record)
    except DecodeError:
        shown = record[:100].decode(errors="replace")
        raise InvalidArgument(f"Failed to parse warmup record: {shown} from {path}") from None


def _run(version: Version, entry: prediction_log_pb2.PredictionLog) -> None:
    match entry.WhichOneof("log_type"):
        case "predict_log":
            predict.predict(version, entry.predict_log.request, 0)
        case "classify_log":
            examples.classify(version, entry.classify_log.request, 0)
        case "regress_log":
            examples.regress(version, entry.regress_log.request, 0)
        case "multi_inference_log":
            examples.multi_inference(version, entry.multi_inference_log.request, 0)
        case other:
            raise Unimplemented(f"Unsupported log_type for warmup: {other}")
