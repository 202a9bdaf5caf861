"""What stays in memory of versions that were replaced: nothing. Uses a graph of 24 MiB."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
import pytest

from tests.serving.asking import statuses
from tests.serving.conftest import predict_request, predict_stub
from tests.serving_fixtures import ModelServer, export_models, running_server
from tests.waiting import eventually

GRAPH_MIB = 24


def anonymous_mib(server: ModelServer) -> int:
    """Return the memory that the server has taken, without files that it has mapped."""
    for line in Path(f"/proc/{server.process.pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) // 1024
    raise AssertionError("no such line")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_server_whose_model_is_replaced_again_and_again_does_not_grow(tmp_path: Path) -> None:
    """Each version's graph stayed twice, and most of what loading it took as well."""
    export_models(("large", tmp_path / "large", ""))
    base = tmp_path / "m"
    base.mkdir()
    (base / "1").symlink_to(tmp_path / "large")
    request = predict_request("m", x=np.ones((1, 1024), np.float32))
    taken = []
    with running_server(base, "m") as server:
        for version in range(1, 21):
            if version > 1:
                (base / str(version)).symlink_to(tmp_path / "large")
            states = {number: "END" for number in range(1, version)} | {version: "AVAILABLE"}
            eventually(lambda states=states: statuses(server) == states, 60)
            for _ in range(3):
                predict_stub(server).Predict(request, timeout=60)
            taken.append(anonymous_mib(server))
    # Were one graph to stay of each, half of the last ten would have at least fourteen more than
    # the first. The allocator keeps up to six of some versions: not of most.
    assert statistics.median(taken[10:]) < taken[0] + 8 * GRAPH_MIB, taken
