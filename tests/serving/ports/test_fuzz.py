"""Garbage on every port: 10,000 malformed requests each, and all is as it was before.

Not covered here: what slow clients do, and a load of requests that are right.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest

from tests.serving.conftest import predict_request, predict_stub, served
from tests.serving.gateway.running import band, running_gateway
from tests.serving.ports import fuzzing
from tests.serving_fixtures import ModelServer, running_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SEED = 20
COUNT = 10_000
WARM_UP = 2_000
CLIENTS = 8
MOST_GROWTH_BYTES = 48 * 2**20
# What the server knows of a mistake of the client's. Anything else is a mistake of the server's.
BLAMELESS = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


@dataclass(frozen=True)
class Usage:
    """What a process holds."""

    rss_bytes: int
    files: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> Usage:
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        return cls(
            rss_bytes=int(fields["VmRSS"].split()[0]) * 1024,
            files=len(os.listdir(f"/proc/{pid}/fd")),
            threads=int(fields["Threads"]),
        )


def spread(work: Callable[..., None], items: Iterable[tuple[object, ...]]) -> None:
    """Do `work` with each of the items, some at a time; the first failure is raised."""
    with ThreadPoolExecutor(CLIENTS) as threads:
        for _ in threads.map(lambda item: work(*item), items):
            pass


def assert_nothing_leaks(pid: int, fuzz: Callable[[random.Random, int], None]) -> None:
    """Fuzz twice, a little and a lot: the process holds no more afterwards than in between."""
    fuzz(random.Random(SEED), WARM_UP)
    before = Usage.of(pid)
    fuzz(random.Random(SEED + 1), COUNT)
    until = time.monotonic() + 30
    # Pools may not have been full before: of the gateway's connections, of threads.
    most_files = before.files + CLIENTS
    while Usage.of(pid).files > most_files and time.monotonic() < until:
        time.sleep(0.1)
    after = Usage.of(pid)
    assert after.files <= most_files
    assert after.threads <= before.threads + 16
    assert after.rss_bytes - before.rss_bytes < MOST_GROWTH_BYTES


@pytest.fixture
def server(models: Path, tmp_path: Path) -> Iterator[ModelServer]:
    """A server of its own: what others hold open must not count."""
    base = served(models, tmp_path / "mnist", "mnist", 1)
    with running_server(base, "mnist") as running:
        yield running
        # Whatever came, it was not the server that was wrong.
        assert running.process.poll() is None
        assert "internal error" not in running.log()
        assert "Traceback" not in running.log()


def one_row() -> np.ndarray:
    return np.ones((1, 784), np.float32)


def test_garbage_on_the_grpc_port(server: ModelServer) -> None:
    valid = predict_request("mnist", images=one_row()).SerializeToString()
    # Its shape is at the end of a message of 3 KB, where few mutations would hit it.
    small = predict_request("mnist", images=np.ones((1, 2), np.float32)).SerializeToString()

    def fuzz(random_: random.Random, count: int) -> None:
        seen: set[grpc.StatusCode] = set()
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            for message in (valid, small):
                spread(
                    lambda method, content: seen.add(fuzzing.call(channel, method, content)),
                    fuzzing.grpc_messages(random_, message, count // 4),
                )
        spread(
            lambda content: fuzzing.throw_at(server.grpc_port, content),
            ((content,) for content in fuzzing.http2_garbage(random_, count // 2)),
        )
        # A message that is no message is INTERNAL in gRPC's own words.
        assert seen <= BLAMELESS | {grpc.StatusCode.INTERNAL}

    assert_nothing_leaks(server.process.pid, fuzz)
    answer = predict_stub(server).Predict(predict_request("mnist", images=one_row()))
    assert len(answer.outputs["probabilities"].float_val) == 10


def test_garbage_on_the_rest_port(server: ModelServer) -> None:
    valid = json.dumps({"instances": one_row().tolist()}).encode()

    def fuzz(random_: random.Random, count: int) -> None:
        for body in (valid, b'{"signature_name": "image_bytes", "inputs": {"b64": "AAAA"}}'):
            assert ask(
                server.rest_port, fuzzing.http_requests(random_, body, count // 4)
            ) <= {200, 400, 404, 501}  # fmt: skip
            spread(
                lambda content: fuzzing.throw_at(server.rest_port, content),
                ((content,) for content in fuzzing.http_garbage(random_, body, count // 4)),
            )

    assert_nothing_leaks(server.process.pid, fuzz)
    assert ask(server.rest_port, [("POST", "/v1/models/mnist:predict", valid, {})]) == {200}


def test_garbage_on_the_gateway(server: ModelServer, tmp_path: Path) -> None:
    with running_gateway(server.rest_url, tmp_path) as gateway:

        def fuzz(random_: random.Random, count: int) -> None:
            statuses = ask(gateway.port, fuzzing.http_requests(random_, b"not a form", count // 2))
            assert max(statuses) < 500
            spread(
                lambda content: fuzzing.throw_at(gateway.port, content),
                ((content,) for content in fuzzing.http_garbage(random_, b"none", count // 2)),
            )

        assert_nothing_leaks(gateway.process.pid, fuzz)
        assert gateway.post(band(7))[0] == 200


def ask(port: int, requests: Iterable[tuple[str, str, bytes, dict[str, str]]]) -> set[int]:
    """Send HTTP requests; return the statuses of the answers."""
    statuses: set[int] = set()

    def send(method: str, target: str, body: bytes, headers: dict[str, str]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request(method, target, body, headers)
            statuses.add(connection.getresponse().status)
        finally:
            connection.close()

    spread(send, requests)
    return statuses
