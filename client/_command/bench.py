"""A short load test of one model: several callers, each of which sends its next request when the
last was answered.

The figures include this process's own work. One Python process sends some thousands of small
requests a second at most; start several to send more.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from .._inputs.batches import stack
from .._inputs.choice import Choice
from .._inputs.files import Reader
from .._inputs.notes import Notes
from ..errors import InvalidInput, PredictionError, ServerError
from ..specs import ModelMetadata, Signature, TensorSpec

if TYPE_CHECKING:
    from .._calls.client import Client
    from ..specs import Array

_BUCKETS = 12
_BAR = 40


@dataclass(frozen=True, slots=True)
class BenchResult:
    """What a load test measured."""

    model: str
    version: int | None
    signature: str
    callers: int
    rows: int
    """In each request."""
    seconds: float
    """From the first request sent to the last answer."""
    latencies: tuple[float, ...]
    """Seconds of each answered request, ascending."""
    errors: Mapping[str, int]
    """How many requests failed, by the code of the server or the name of the client's error."""
    interrupted: bool = False
    """Whether Ctrl-C ended it before its time."""

    @property
    def requests_per_second(self) -> float:
        """Answered requests in each second, over the whole time."""
        return len(self.latencies) / self.seconds

    def percentile(self, percent: float) -> float:
        """Return the seconds within which `percent` of the answered requests were (nearest rank).

        Raises:
            ValueError: none was answered.
        """
        if not self.latencies:
            raise ValueError("No request was answered, so there is no latency.")
        rank = math.ceil(percent / 100 * len(self.latencies))
        return self.latencies[max(rank, 1) - 1]

    def histogram(self) -> list[tuple[float, int]]:
        """Return upper bounds in seconds, evenly spaced in their logarithm, and counts up to them.

        Bounds include their own value; the last is the longest latency.
        """
        if not self.latencies:
            return []
        shortest, longest = self.latencies[0], self.latencies[-1]
        if shortest == longest:
            return [(longest, len(self.latencies))]
        bounds = np.geomspace(shortest, longest, _BUCKETS + 1)[1:]
        bounds[-1] = longest  # Not a rounding error below it.
        below = np.searchsorted(self.latencies, bounds, side="right")
        return [
            (float(bound), int(number))
            for bound, number in zip(bounds, np.diff(below, prepend=0), strict=True)
        ]


def load(
    metadata: ModelMetadata,
    wanted: str | None,
    file: str | None,
    rows: int,
    tell: Callable[[str], None],
) -> tuple[Signature, Mapping[str, Array]]:
    """Return a signature, and inputs of `rows` rows: the first example of `file`, or made up.

    What is made up is 0..1 at random for floats and 0 or False for everything else.

    Args:
        metadata: of the model.
        wanted: the signature; None: the one to use for such a file, or for arrays.
        file: as for `predict`; None: make inputs up.
        rows: how often the example is in a request.
        tell: told what is taken for granted.

    Raises:
        FileError: the file cannot be read.
        InvalidInput: the inputs cannot be made up, or not in rows.
    """
    choice = Choice(metadata, wanted)
    if file is None:
        signature = choice.plain()
        return signature, {name: _made_up(spec, rows) for name, spec in signature.inputs.items()}
    example = next(Reader(choice, Notes(tell), about=metadata.about).files([file]))
    if isinstance(example, PredictionError):
        raise example
    if example.whole and rows > 1:
        raise InvalidInput(
            f"Signature {example.signature.name!r} does not take one row per example. "
            "Ask for 1 row."
        )
    return example.signature, stack([example] if example.whole else [example] * rows)


def bench(
    client: Client,
    signature: Signature,
    inputs: Mapping[str, Array],
    *,
    callers: int,
    requests: int,
    seconds: float,
) -> BenchResult:
    """Send `inputs` from `callers` threads: `requests` of them, for `seconds`, or until Ctrl-C.

    A first request is sent before and not counted: it opens the connection and shows errors.

    Raises:
        PredictionError: the first request failed.
    """
    first = client.predict(inputs, signature=signature.name)
    numbers = count()  # next() of it is atomic.
    over = threading.Event()
    latencies: list[list[float]] = [[] for _ in range(callers)]
    errors: list[Counter[str]] = [Counter() for _ in range(callers)]
    started = time.perf_counter()
    end = started + seconds

    def call(index: int) -> None:
        while next(numbers) < requests and not over.is_set():
            before = time.perf_counter()
            if before >= end:
                return
            try:
                client.predict(inputs, signature=signature.name)
            except PredictionError as exc:
                code = exc.code if isinstance(exc, ServerError) else type(exc).__name__
                errors[index][code] += 1
            else:
                latencies[index].append(time.perf_counter() - before)

    interrupted = False
    with ThreadPoolExecutor(callers) as pool:
        try:
            for future in [pool.submit(call, index) for index in range(callers)]:
                future.result()
        except KeyboardInterrupt:
            interrupted = True
        finally:
            over.set()  # When one caller has ended, the others end.
    elapsed = time.perf_counter() - started
    return BenchResult(
        model=first.model,
        version=first.version,
        signature=first.signature,
        callers=callers,
        rows=max((len(array) for array in inputs.values() if array.ndim), default=1),
        seconds=elapsed,
        latencies=tuple(sorted(second for each in latencies for second in each)),
        errors=dict(sorted(sum(errors, Counter[str]()).items())),
        interrupted=interrupted,
    )


def bench_text(result: BenchResult) -> str:
    """Return the figures and a histogram, a line each."""
    answered = len(result.latencies)
    version = "" if result.version is None else f" version {result.version}"
    lines = [
        f"{result.model}{version} {result.signature}: {answered} requests of {result.rows} rows "
        f"from {result.callers} callers in {result.seconds:.2f} s",
        f"{result.requests_per_second:.1f} requests/s, "
        f"{result.requests_per_second * result.rows:.1f} rows/s",
    ]
    if answered:
        figures = ", ".join(f"p{p} {result.percentile(p) * 1e3:.2f}" for p in (50, 90, 99))
        lines.append(f"latency in ms: {figures}, longest {result.latencies[-1] * 1e3:.2f}")
        most = max(number for _, number in result.histogram())
        for bound, number in result.histogram():
            bar = "#" * math.ceil(number / most * _BAR)
            lines.append(f"  <= {bound * 1e3:9.2f} ms {number:7} {bar}".rstrip())
    lines += [f"failed: {number} {code}" for code, number in result.errors.items()]
    return "\n".join(lines)


def bench_json(result: BenchResult) -> dict[str, object]:
    """Return the object that `bench --json` prints."""
    percentiles = {f"p{p}": result.percentile(p) * 1e3 for p in (50, 90, 99) if result.latencies}
    return {
        "model": result.model,
        "version": result.version,
        "signature": result.signature,
        "concurrency": result.callers,
        "rows": result.rows,
        "requests": len(result.latencies),
        "errors": dict(result.errors),
        "seconds": result.seconds,
        "requests_per_second": result.requests_per_second,
        "rows_per_second": result.requests_per_second * result.rows,
        "latency_ms": percentiles,
        "histogram": [
            {"up_to_ms": bound * 1e3, "requests": number} for bound, number in result.histogram()
        ],
    }


def _made_up(spec: TensorSpec, rows: int) -> Array:
    sizes = [] if not spec.shape else [size for size in spec.shape[1:] if size is not None]
    if spec.dtype == "string" or not spec.shape or len(sizes) != len(spec.shape) - 1:
        raise InvalidInput(
            f"Input {spec.name!r} ({spec}) cannot be made up. Give a file with an example."
        )
    known = not spec.dtype.startswith(("DT_", "bfloat16", "float8"))
    dtype = np.dtype(spec.dtype if known else "float32")
    shape = (spec.shape[0] or rows, *sizes)
    if dtype.kind == "f":
        return np.random.default_rng(0).random(shape).astype(dtype)
    return np.zeros(shape, dtype)
