"""Time limits hold for every call, whatever ran before, and free what the call held."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.serving.asking import http_call, outcome
from tests.serving.conftest import predict_request, predict_stub, served
from tests.serving_fixtures import running_server
from tests.waiting import eventually

FOR_EVER = 10**9
MANY = 16
"""More than the server has threads: were one of them still busy, the last call would show it."""


@pytest.mark.parametrize("flags", [[], ["--enable_batching"]], ids=["alone", "batched"])
def test_long_calls_end_although_the_signature_was_quick_before(
    models: Path, tmp_path: Path, flags: list[str]
) -> None:
    """A signature that had ever run within a millisecond lost its limit: 16 calls hung it."""
    base = served(models, tmp_path / "kinds", "kinds", 1)
    threads = ["--grpc_max_threads=4", "--rest_api_num_threads=4"]
    limit = ["--rest_api_timeout_in_ms=1000"]
    with running_server(base, "kinds", [*threads, *limit, *flags]) as server:
        stub = predict_stub(server)

        def request(steps: int) -> object:
            return predict_request("kinds", "slow", steps=np.array([steps], np.int32))

        def ask_rest(steps: int) -> int:
            body = {"signature_name": "slow", "instances": [steps]}
            return http_call(server, "POST", "/v1/models/kinds:predict", body)[0]

        for _ in range(100):
            stub.Predict(request(0), timeout=60)
        long = [stub.Predict.future(request(FOR_EVER), timeout=1) for _ in range(MANY)]
        # Those that waited for a batch until then are told so, where the server is first to tell.
        outcomes = {outcome(one)[0] for one in long}
        assert outcomes <= {"DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}
        assert "DEADLINE_EXCEEDED" in outcomes
        assert outcome(stub.Predict.future(request(0), timeout=60)) == ("OK", "")
        with ThreadPoolExecutor(MANY) as callers:
            statuses = set(callers.map(ask_rest, [FOR_EVER] * MANY))
        assert statuses <= {504, 429, 503}
        assert 504 in statuses
        # Its limit is a second, which a busy machine may take for nothing.
        eventually(lambda: ask_rest(0) == 200)
