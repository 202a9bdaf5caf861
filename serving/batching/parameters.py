"""`BatchingParameters`: the text file that says how requests are batched, read and checked.

The message is the one of TensorFlow Serving's `servables/tensorflow/session_bundle_config.proto`,
which `tensorflow-serving-api` does not carry. Limits and texts follow `bundle_factory_util.cc` and
TensorFlow's `shared_batch_scheduler.h`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import wrappers_pb2  # type: ignore[import-untyped]

from .. import text_protos
from ..errors import InvalidArgument
from ..machine import cpus
from ..text_protos import INT64, message_type

PER_MODEL_FILE = "batching_params.pbtxt"
"""In a version's folder, beside `saved_model.pb`."""

_Message = message_type(
    "BatchingParameters",
    {
        "max_batch_size": (1, INT64),
        "batch_timeout_micros": (2, INT64),
        "max_enqueued_batches": (3, INT64),
        "num_batch_threads": (4, INT64),
        "thread_pool_name": (5, wrappers_pb2.StringValue),
        "allowed_batch_sizes": (6, [int]),
        "pad_variable_length_inputs": (7, bool),
        "enable_large_batch_splitting": (8, wrappers_pb2.BoolValue),
        "max_execution_batch_size": (9, INT64),
    },
)
_WRAPPED = (
    "max_batch_size",
    "batch_timeout_micros",
    "max_enqueued_batches",
    "num_batch_threads",
    "enable_large_batch_splitting",
    "max_execution_batch_size",
    "thread_pool_name",
)
"""Fields that say whether they were given."""


@dataclass(frozen=True, kw_only=True)
class BatchingParameters:
    """How the requests for one signature are batched; TensorFlow Serving's defaults."""

    max_batch_size: int = 1000
    """Rows of a batch, and of the largest request."""
    batch_timeout_micros: int = 0
    """Longest wait for a fuller batch while a thread is free."""
    max_enqueued_batches: int = 10
    """Batches that may wait; a request that needs one more is refused."""
    num_batch_threads: int = field(default_factory=cpus)
    """Batches that run at the same time, of all models together."""
    allowed_batch_sizes: tuple[int, ...] = ()
    """Sizes that batches are filled up to; none: any."""
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int = 0
    """Rows of a batch with splitting, `max_batch_size` being those of a request; 0: the same."""
    thread_pool_name: str = "batch_threads"
    """Labels a metric, nothing else."""

    def __post_init__(self) -> None:
        """Refuse what can't work.

        Raises:
            InvalidArgument: a value is out of range or does not fit another one.
        """
        for name, least in (
            ("max_batch_size", 1),
            ("batch_timeout_micros", 0),
            ("max_enqueued_batches", 1),
            ("num_batch_threads", 1),
            ("max_execution_batch_size", 0),
        ):
            value = getattr(self, name)
            if value < least:
                raise InvalidArgument(f"{name} must be at least {least}; was {value}")
        if self.max_execution_batch_size > self.max_batch_size:
            raise InvalidArgument(
                f"max_execution_batch_size {self.max_execution_batch_size} must be at most "
                f"max_batch_size {self.max_batch_size}"
            )
        sizes = self.allowed_batch_sizes
        if not sizes:
            return
        if list(sizes) != sorted(set(sizes)) or sizes[0] < 1:
            raise InvalidArgument("allowed_batch_sizes entries must be monotonically increasing")
        if sizes[-1] != self.rows:
            name = (
                "max_batch_size" if self.rows == self.max_batch_size else "max_execution_batch_size"
            )
            raise InvalidArgument(
                f"Last entry in allowed_batch_sizes must match {name}; last entry was "
                f"{sizes[-1]}; expected {self.rows}"
            )

    @property
    def rows(self) -> int:
        """Return how many rows are run at once at most."""
        splits = self.enable_large_batch_splitting and self.max_execution_batch_size
        return self.max_execution_batch_size if splits else self.max_batch_size

    def padded(self, rows: int) -> int:
        """Return the smallest allowed size that holds so many rows."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)


def read(path: str) -> BatchingParameters:
    """Read a file in protobuf's text format.

    Raises:
        ServingError: it can't be read, is no `BatchingParameters`, or holds bad values.
    """
    message = text_protos.read(path, _Message())
    given = {name: getattr(message, name).value for name in _WRAPPED if message.HasField(name)}
    return BatchingParameters(
        allowed_batch_sizes=tuple(message.allowed_batch_sizes),
        pad_variable_length_inputs=message.pad_variable_length_inputs,
        **given,
    )


@dataclass(frozen=True)
class BatchingConfig:
    """What the command line says about batching; only made when it is on."""

    common: BatchingParameters
    per_model: bool = False
    """Batch those models alone that bring parameters of their own."""

    def of_version(self, folder: Path) -> BatchingParameters | None:
        """Return the parameters for the version of a model in this folder; None: no batching.

        Raises:
            InvalidArgument: its own file is bad.
        """
        if not self.per_model:
            return self.common
        path = folder / PER_MODEL_FILE
        return read(str(path)) if path.exists() else None
