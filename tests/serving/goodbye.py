"""Servers that end: clients that ask again and again over a kept HTTP connection, as proxies do."""

from __future__ import annotations

import http.client
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.serving_fixtures import ModelServer


@contextmanager
def kept(port: int) -> Iterator[http.client.HTTPConnection]:
    """A connection that never connects anew by itself."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.auto_open = False
    connection.connect()
    try:
        yield connection
    finally:
        connection.close()


def asked_until_told(
    connection: http.client.HTTPConnection, path: str, *, pause: float, seconds: float = 60
) -> int:
    """Ask until an answer says that it is the last; return how many came, that one included."""
    end = time.monotonic() + seconds
    answers = 0
    while time.monotonic() < end:
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == 200
        response.read()
        answers += 1
        if response.getheader("connection") == "close":
            return answers
        time.sleep(pause)  # As a client that asks now and then.
    raise AssertionError(f"none of {answers} answers says that it is the last")


def await_end(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process that was sent SIGTERM to end as it should."""
    # uvicorn ends by the signal, once it has done what was to be done.
    assert process.wait(60) in (0, -signal.SIGTERM)


def drained_seconds(server: ModelServer) -> float:
    """For how long an ended server has waited for its requests: its process ends later."""
    [seconds] = re.findall(r"Stopped after (\S+) s of draining", server.log())
    return float(seconds)
