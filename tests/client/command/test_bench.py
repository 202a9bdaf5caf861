"""The load test: that it is bounded, counts right, and says what failed. No speed is asserted."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client import (
    Client,
    InvalidInput,
    ModelMetadata,
    Prediction,
    ServerError,
    Signature,
    TensorSpec,
)
from client._command import cli
from client._command.bench import BenchResult, bench, bench_text, load
from tests.serving_fixtures import ModelServer

from ..conftest import port_of

IMAGES = {"images": TensorSpec("images", "float32", (None, 784))}
SIGNATURE = Signature("predict_object", IMAGES, {})


def result(*milliseconds: float, errors: Mapping[str, int] | None = None) -> BenchResult:
    latencies = tuple(sorted(value / 1e3 for value in milliseconds))
    return BenchResult("m", 3, "s", 2, 4, 2.0, latencies, errors or {})


class Scripted(Client):
    """A client whose answers come from a function of the request's number."""

    def __init__(self, answer: Any) -> None:
        super().__init__("127.0.0.1", "m", transport="rest")
        self.answer = answer
        self.sent = 0

    def predict(self, inputs: Any, *, signature: str | None = None) -> Prediction:
        self.sent += 1
        self.answer(self.sent)
        return Prediction("m", 1, signature or "", {})


def test_percentiles_are_nearest_ranks() -> None:
    many = result(*range(1, 101))
    assert [round(many.percentile(p) * 1e3) for p in (0, 50, 90, 99, 100)] == [1, 50, 90, 99, 100]
    assert result(7).percentile(99) == 0.007
    with pytest.raises(ValueError, match="No request"):
        result().percentile(50)


@pytest.mark.parametrize("latencies", [(), (5,), (5, 5, 5), tuple(range(1, 101)), (0.1, 900)])
def test_every_latency_is_in_one_bucket(latencies: tuple[float, ...]) -> None:
    histogram = result(*latencies).histogram()
    assert sum(number for _, number in histogram) == len(latencies)
    assert [bound for bound, _ in histogram] == sorted(bound for bound, _ in histogram)


def test_the_text_has_the_figures_bars_and_failures() -> None:
    text = bench_text(result(1, 1, 1, 8, errors={"UNAVAILABLE": 2}))
    head, speed, latency, first, *_, last, failed = text.splitlines()
    assert head == "m version 3 s: 4 requests of 4 rows from 2 callers in 2.00 s"
    assert speed == "2.0 requests/s, 8.0 rows/s"
    assert latency == "latency in ms: p50 1.00, p90 8.00, p99 8.00, longest 8.00"
    assert first.endswith(" 3 " + "#" * 40)
    assert last.startswith("  <=      8.00 ms")
    assert failed == "failed: 2 UNAVAILABLE"
    assert "latency" not in bench_text(result(errors={"UNAVAILABLE": 1}))


@pytest.mark.usefixtures("interrupts")
def test_an_interrupt_ends_it_with_the_figures_so_far() -> None:
    """The process gets it, as by Ctrl-C: one to a caller's thread would not wake the main one."""

    def answer(number: int) -> None:
        if number == 20:
            os.kill(os.getpid(), signal.SIGINT)

    found = bench(Scripted(answer), SIGNATURE, {}, callers=3, requests=10**9, seconds=60)
    assert found.interrupted
    assert len(found.latencies) >= 19 - 1  # Without the first, which is not counted.


def test_requests_are_bounded_by_number_and_failures_counted() -> None:
    def answer(number: int) -> None:
        if number % 5 == 0:
            raise ServerError("a", "UNAVAILABLE", "full")

    client = Scripted(answer)
    measured = bench(client, SIGNATURE, {}, callers=1, requests=20, seconds=600)
    assert client.sent == 21  # With the first, which is not counted.
    assert (len(measured.latencies), measured.errors) == (16, {"UNAVAILABLE": 4})


def test_requests_are_bounded_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("client._command.bench.time.perf_counter", lambda: now[0])

    def answer(number: int) -> None:
        now[0] += 1

    client = Scripted(answer)
    measured = bench(client, SIGNATURE, {}, callers=1, requests=10**9, seconds=5)
    assert (len(measured.latencies), measured.seconds) == (5, 5)
    assert measured.requests_per_second == 1


def test_what_is_wrong_from_the_start_is_raised() -> None:
    def answer(number: int) -> None:
        raise ServerError("a", "NOT_FOUND", "no model")

    with pytest.raises(ServerError, match="NOT_FOUND"):
        bench(Scripted(answer), SIGNATURE, {}, callers=1, requests=1, seconds=1)


def test_what_is_sent_is_made_up_or_a_files_example(tmp_path: Path) -> None:
    def sent(signature: Signature, file: str | None, rows: int) -> np.ndarray:
        metadata = ModelMetadata("m", 1, {"s": signature})
        chosen, inputs = load(metadata, None, file, rows, pytest.fail)
        assert chosen is signature
        (only,) = inputs.values()
        return only

    made = sent(SIGNATURE, None, 3)
    assert (made.shape, made.dtype) == ((3, 784), np.float32)
    np.save(tmp_path / "x.npy", np.arange(2 * 784, dtype=np.float32).reshape(2, 784))
    rows = Signature("s", IMAGES, {"y": TensorSpec("y", "int64", (None,))})
    read = sent(rows, str(tmp_path / "x.npy"), 3)
    np.testing.assert_array_equal(read, np.tile(np.arange(784), (3, 1)))
    for shape, dtype in [((None, None), "float32"), (None, "float32"), ((None,), "string")]:
        unknown = Signature("s", {"x": TensorSpec("x", dtype, shape)}, {})
        with pytest.raises(InvalidInput, match="cannot be made up"):
            sent(unknown, None, 1)


def test_the_command_measures_a_real_server(
    mnist: ModelServer, transport: str, capsys: pytest.CaptureFixture[str]
) -> None:
    where = [
        "--host=127.0.0.1",
        "--model=mnist",
        f"--transport={transport}",
        f"--port={port_of(mnist, transport)}",
    ]
    limits = ["--requests=24", "--concurrency=3", "--rows=5", "--duration=100"]
    assert cli.main(["bench", *where, *limits, "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert set(measured) == {
        "model", "version", "signature", "concurrency", "rows", "requests", "errors", "seconds",
        "requests_per_second", "rows_per_second", "latency_ms", "histogram",
    }  # fmt: skip
    assert (measured["requests"], measured["rows"], measured["errors"]) == (24, 5, {})
    assert set(measured["latency_ms"]) == {"p50", "p90", "p99"}
    assert sum(bucket["requests"] for bucket in measured["histogram"]) == 24
    assert cli.main(["bench", *where, *limits]) == 0
    assert "24 requests of 5 rows from 3 callers" in capsys.readouterr().out


@pytest.mark.parametrize("limit", ["--concurrency=0", "--concurrency=257", "--duration=601"])
def test_limits_are_limited(limit: str) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["bench", limit])
    assert caught.value.code == 2
