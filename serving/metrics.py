"""Counters and histograms with TensorFlow Serving's names, in Prometheus' text form.

Names, labels and buckets: `util/prometheus_exporter.cc`, `servables/tensorflow/util.cc` and
`servables/tensorflow/saved_model_warmup_util.cc`. They count for the whole process, also when
nobody asks for them.
"""

from __future__ import annotations

import itertools
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any

from .errors import Code, InvalidArgument, ServingError, as_serving_error

DEFAULT_PATH = "/monitoring/prometheus/metrics"

_PREFIX = "/tensorflow/serving/"


class Counter:
    """A number for each combination of label values that only grows."""

    kind = "counter"

    def __init__(self, name: str, *labels: str) -> None:
        self.name = name
        self.labels = labels
        self._lock = threading.Lock()
        self._values: dict[tuple[str, ...], int] = {}
        _ALL.append(self)

    def add(self, *values: str, amount: int = 1) -> None:
        """Add to the number of these label values."""
        with self._lock:
            self._values[values] = self._values.get(values, 0) + amount

    def lines(self, name: str) -> Iterator[str]:
        """Yield a line for each number."""
        with self._lock:
            values = dict(self._values)
        for labels, value in values.items():
            yield f"{name}{{{_pairs(self.labels, labels)}}} {value}"


class Histogram:
    """How often a measure fell into each bucket, for each combination of label values.

    Args:
        name: `/`-separated.
        labels: their names.
        bounds: upper bounds of the buckets, without the last, which has none.
    """

    kind = "histogram"

    def __init__(self, name: str, *labels: str, bounds: list[float]) -> None:
        self.name = name
        self.labels = labels
        self._bounds = bounds
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}
        _ALL.append(self)

    def add(self, value: float, *values: str, times: int = 1) -> None:
        """Count one measurement, or as many alike."""
        bucket = bisect_left(self._bounds, value)
        with self._lock:
            counts = self._counts.get(values) or self._new(values)
            counts[bucket] += times
            self._sums[values] += times * value

    def add_all(self, measured: Sequence[float], *values: str) -> None:
        """Count several measurements with the same label values."""
        buckets = [bisect_left(self._bounds, value) for value in measured]
        with self._lock:
            counts = self._counts.get(values) or self._new(values)
            for bucket in buckets:
                counts[bucket] += 1
            self._sums[values] += sum(measured)

    def _new(self, values: tuple[str, ...]) -> list[int]:
        counts = self._counts[values] = [0] * (len(self._bounds) + 1)
        self._sums[values] = 0.0
        return counts

    def lines(self, name: str) -> Iterator[str]:
        """Yield the lines of each histogram; buckets hold what is at or below their bound."""
        with self._lock:
            found = [(key, list(counts), self._sums[key]) for key, counts in self._counts.items()]
        limits = [f"{bound:g}" for bound in self._bounds] + ["+Inf"]
        for labels, counts, total in found:
            pairs = _pairs(self.labels, labels)
            comma = "," if pairs else ""
            for limit, count in zip(limits, itertools.accumulate(counts), strict=True):
                yield f'{name}_bucket{{{pairs}{comma}le="{limit}"}} {count}'
            yield f"{name}_sum{{{pairs}}} {total:.15g}"
            yield f"{name}_count{{{pairs}}} {sum(counts)}"


class Gauge:
    """A number that comes and goes.

    Args:
        name: as it is shown.
    """

    kind = "gauge"
    labels = ()

    def __init__(self, name: str) -> None:
        self.name = name
        self._value: float | None = None
        _ALL.append(self)

    def set(self, value: float) -> None:
        """Have the number be this one from now on."""
        self._value = value

    def lines(self, name: str) -> Iterator[str]:
        """Yield its line, once it was set."""
        if self._value is not None:
            yield f"{name} {self._value}"


_ALL: list[Counter | Histogram | Gauge] = []


def exponential(start: float, growth: float, count: int) -> list[float]:
    """Return bucket bounds, each `growth` times the one before."""
    return [start * growth**step for step in range(count)]


_MICROSECONDS = exponential(10, 1.8, 33)

REQUEST_COUNT = Counter(_PREFIX + "request_count", "model_name", "status")
REQUEST_LATENCY = Histogram(
    _PREFIX + "request_latency", "model_name", "API", "entrypoint", bounds=_MICROSECONDS
)
"""In microseconds, of requests that succeeded."""
RUNTIME_LATENCY = Histogram(
    _PREFIX + "runtime_latency", "model_name", "API", "runtime", bounds=_MICROSECONDS
)
"""In microseconds, of the graph alone."""
EXAMPLE_COUNTS = Histogram(
    _PREFIX + "request_example_counts", "model", bounds=exponential(1, 2, 20)
)
EXAMPLE_COUNT_TOTAL = Counter(_PREFIX + "request_example_count_total", "model")
WARMUP_LATENCY = Histogram(
    _PREFIX + "model_warmup_latency", "model_path", "status", bounds=_MICROSECONDS
)
WARMUP_RECORDS = Counter(_PREFIX + "model_warmup_records_read", "model_path", "status")
_BATCHING = _PREFIX + "batching_session/"
_ROWS = exponential(1, 2, 14)
QUEUING_LATENCY = Histogram(
    _BATCHING + "queuing_latency", "thread_pool_name", bounds=exponential(100, 1.2, 52)
)
"""In microseconds, of each request."""
WRAPPED_RUN_COUNT = Counter(_BATCHING + "wrapped_run_count")
"""Runs of the graph that batches made."""
INPUT_BATCH_SIZE = Histogram(_BATCHING + "input_batch_size", bounds=_ROWS)
"""Rows of each request, or of each part of a large one."""
PADDING_SIZE = Histogram(_BATCHING + "padding_size", bounds=_ROWS)
"""Rows that a batch was filled up with."""
PROCESSED_BATCH_SIZE = Histogram(_BATCHING + "processed_batch_size", bounds=_ROWS)
"""Rows of each batch."""
LOAD_ATTEMPTS = Counter("/tensorflow/cc/saved_model/load_attempt_count", "model_path", "status")
LOAD_LATENCY = Counter("/tensorflow/cc/saved_model/load_latency", "model_path")
"""In microseconds, summed up."""


class counted:  # noqa: N801  # Named as what it is used as: `with metrics.counted(...)`.
    """Counts the request that is answered inside.

    Raises:
        ServingError: whatever is raised there.
    """

    def __init__(self, model_name: str, api: str, entrypoint: str) -> None:
        self._labels = (model_name, api, entrypoint)

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if error is None:
            count_success(*self._labels, self._started)
        elif isinstance(error, Exception):
            raise count_failure(self._labels[0], error) from None
        else:
            REQUEST_COUNT.add(self._labels[0], Code.CANCELLED.name)


def count_success(
    model_name: str, api: str, entrypoint: str, started: float, count: int = 1
) -> None:
    """Count requests that were answered together; `started` by `time.perf_counter`."""
    REQUEST_COUNT.add(model_name, "OK", amount=count)
    micros = (time.perf_counter() - started) * 1e6
    REQUEST_LATENCY.add(micros, model_name, api, entrypoint, times=count)


def count_failure(model_name: str, error: Exception, count: int = 1) -> ServingError:
    """Count requests that failed by one error; return what their callers may see of it."""
    known = as_serving_error(error)
    REQUEST_COUNT.add(model_name, known.code.name, amount=count)
    return known


def count_run(model_name: str, api: str, seconds: float, count: int = 1) -> None:
    """Count how long the graph took for requests to the API of this name."""
    RUNTIME_LATENCY.add(seconds * 1e6, model_name, api, "TF1", times=count)


def page() -> str:
    """Return all metrics that have counted anything, sorted by name."""
    text = []
    for metric in sorted(_ALL, key=lambda metric: metric.name):
        name = metric.name.replace("/", ":")
        lines = list(metric.lines(name))
        if lines:
            text += [f"# TYPE {name} {metric.kind}", *lines]
    return "\n".join(text) + "\n"


def path(config_file: str) -> str:
    """Return where `--monitoring_config_file` has the metrics shown; empty: nowhere.

    Raises:
        ServingError: the file can't be read.
    """
    if not config_file:
        return ""
    # Not at the top: the gateway counts, too, and needs no protocol buffers.
    from . import text_protos

    message = text_protos.message_type("PrometheusConfig", {"enable": (1, bool), "path": (2, str)})
    monitoring: Any = text_protos.message_type(
        "MonitoringConfig", {"prometheus_config": (1, message)}
    )
    prometheus = text_protos.read(config_file, monitoring()).prometheus_config
    if not prometheus.enable:
        return ""
    chosen: str = prometheus.path or DEFAULT_PATH
    if not chosen.startswith("/"):
        raise InvalidArgument(
            f"prometheus_config has the path '{chosen}' in {config_file}. Begin it with '/'."
        )
    return chosen


def _pairs(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    return ",".join(
        f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True)
    )


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
