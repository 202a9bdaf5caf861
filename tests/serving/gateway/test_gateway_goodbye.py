"""What a gateway that is told to end does with kept connections."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from tests.serving.gateway.running import running_gateway
from tests.serving.goodbye import asked_until_told, await_end, kept


def test_the_last_answer_over_a_connection_says_so(tmp_path: Path) -> None:
    with (
        running_gateway("http://127.0.0.1:9", tmp_path, "--drain_seconds=100") as gateway,
        kept(gateway.port) as used,
        kept(gateway.port) as idle,
    ):
        for connection in (used, idle):
            connection.request("GET", "/healthz")
            assert connection.getresponse().read() is not None
        started = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        assert asked_until_told(used, "/healthz", pause=0.02) >= 1
        await_end(gateway.process)
        # An eighth of its time, and no more than 5 s, is for those that may never be used again.
        assert time.monotonic() - started > 4.9
