"""What a gateway that is told to end does with kept connections."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.serving.gateway.running import running_gateway
from tests.serving.goodbye import asked_until_told, kept, seconds_to_end


def test_the_last_answer_over_a_connection_says_so(tmp_path: Path) -> None:
    with (
        running_gateway("http://127.0.0.1:9", tmp_path, "--drain_seconds=24") as gateway,
        kept(gateway.port) as used,
        kept(gateway.port) as idle,
    ):
        for connection in (used, idle):
            connection.request("GET", "/healthz")
            assert connection.getresponse().read() is not None
        gateway.process.send_signal(signal.SIGTERM)
        assert asked_until_told(used, "/healthz", pause=0.02, seconds=2) >= 1
        assert 1 < seconds_to_end(gateway.process) < 8
