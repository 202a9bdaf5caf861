"""More requests than can wait: told so at once, on both ports, while health checks are answered."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.errors import ServingError
from serving.ports.admission import Admission
from tests.serving.asking import outcome
from tests.serving.conftest import predict_request, predict_stub, served, slow_request
from tests.serving_fixtures import running_server
from tests.waiting import eventually

FULL = (
    "2 requests run or wait already, and the server takes no more (--max_waiting_requests). "
    "Try again later."
)


def test_one_too_many_is_unavailable_and_health_still_answers(models: Path, tmp_path: Path) -> None:
    base = served(models, tmp_path / "kinds", "kinds", 1)
    flags = ["--grpc_max_threads=1", "--rest_api_num_threads=1", "--max_waiting_requests=1"]
    with running_server(base, "kinds", flags) as server:
        stub = predict_stub(server)
        slow = slow_request(server, seconds=3)
        futures = [stub.Predict.future(slow, timeout=100) for _ in range(3)]
        eventually(lambda: any(future.done() for future in futures))
        health = health_pb2_grpc.HealthStub(server.channel)
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=60)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert sum(future.done() for future in futures) == 1, "the only thread is still busy"
        outcomes = sorted(outcome(future) for future in futures)
        assert outcomes == [("OK", ""), ("OK", ""), ("UNAVAILABLE", FULL)]
        quick = predict_request("kinds", "echo_float32", x=np.zeros(1, np.float32))
        assert outcome(stub.Predict.future(quick)) == ("OK", ""), "there is room again"


def test_rest_refuses_the_one_too_many(models: Path, tmp_path: Path) -> None:
    base = served(models, tmp_path / "kinds", "kinds", 1)
    flags = ["--rest_api_num_threads=1", "--max_waiting_requests=1"]
    flags += ["--rest_api_timeout_in_ms=100000"]
    with running_server(base, "kinds", flags) as server:
        steps = slow_request(server, seconds=3).inputs["steps"].int_val[0]
        body = json.dumps({"signature_name": "slow", "instances": [steps]}).encode()
        url = f"{server.rest_url}/v1/models/kinds:predict"

        def ask() -> tuple[int, str]:
            try:
                with urllib.request.urlopen(url, body, timeout=100) as response:
                    return response.status, ""
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, json.load(error)["error"]

        with ThreadPoolExecutor(3) as threads:
            answers = sorted(threads.map(lambda _: ask(), range(3)))
        assert answers == [(200, ""), (200, ""), (503, FULL)]
        body = json.dumps({"signature_name": "echo_float32", "instances": [1.0]}).encode()
        assert ask() == (200, "")


def test_places_are_given_back() -> None:
    admission = Admission(2)
    for _ in range(2):
        with (
            admission,
            admission,
            pytest.raises(ServingError, match="2 requests run or wait"),
            admission,
        ):
            pass
