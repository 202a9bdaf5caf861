"""What a server that is told to end does with kept connections, and with requests under way."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.serving.conftest import predict_request, predict_stub, served, slow_request
from tests.serving.goodbye import asked_until_told, await_end, drained_seconds, kept
from tests.serving_fixtures import running_server

STATUS = "/v1/models/m"


@pytest.fixture
def base(models: Path, tmp_path: Path) -> Path:
    return served(models, tmp_path / "m", "half_plus_two", 1)


def test_the_last_answer_over_a_connection_says_so(base: Path) -> None:
    """Symptom: a connection was closed while it lay idle, and the request on its way was lost."""
    with (
        running_server(base, "m", ["--drain_seconds=100"]) as server,
        kept(server.rest_port) as used,
        kept(server.rest_port) as idle,
    ):
        for connection in (used, idle):
            connection.request("GET", STATUS)
            assert connection.getresponse().read()
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert asked_until_told(used, STATUS, pause=0.02) >= 1
        # Well before 100 s are over.
        await_end(server.process)
        # An eighth of them, and no more than 5 s, is for those that may never be used again.
        assert time.monotonic() - started > 4.9


def test_a_server_without_connections_ends_at_once(base: Path) -> None:
    with running_server(base, "m", ["--drain_seconds=80"]) as server:
        server.channel.close()
        server.process.send_signal(signal.SIGTERM)
        await_end(server.process)
        # Not the time that its process takes to end.
        seconds = drained_seconds(server)
        assert seconds < 4, "it waits for nobody"


def test_a_request_may_take_as_long_as_is_said(models: Path, tmp_path: Path) -> None:
    base = served(models, tmp_path / "kinds", "kinds", 1)
    with running_server(base, "kinds", ["--drain_seconds=60"]) as server:
        stub = predict_stub(server)
        future = stub.Predict.future(slow_request(server, 4), timeout=60)
        stub.Predict(predict_request("kinds", "echo_float32", x=np.zeros(1, np.float32)))
        server.process.send_signal(signal.SIGTERM)
        assert future.result().model_spec.name == "kinds"
        await_end(server.process)


def test_old_connections_are_told_to_connect_anew(base: Path) -> None:
    """Else a server that is new gets nothing from clients that are there."""
    flag = "--grpc_channel_arguments=grpc.max_connection_age_ms=3000"
    with running_server(base, "m", [flag]) as server, kept(server.rest_port) as connection:
        assert asked_until_told(connection, STATUS, pause=0.05) > 1
