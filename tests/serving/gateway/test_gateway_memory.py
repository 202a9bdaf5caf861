"""The gateway in as much memory as its container has: it refuses, and is never killed."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.serving.gateway.running import FORM, Gateway, form, running_gateway
from tests.serving.memory_group import memory_group
from tests.waiting import eventually

LIMIT = 512 * 2**20
"""Of the container `gateway` (infra/components/prediction_service.py)."""

PHOTO = 12 * 2**20


class SlowServer(BaseHTTPRequestHandler):
    """A model server with pictures as its input, which takes its time to answer."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        tensor = {"dtype": "DT_STRING", "tensor_shape": {"dim": [{"size": "-1"}]}}
        signature = {"inputs": {"image_bytes": tensor}, "outputs": {"size": tensor}}
        versions = [{"version": "1", "state": "AVAILABLE"}]
        signatures = {"signature_def": {"signature_def": {"image_bytes": signature}}}
        known = {"model_version_status": versions, "metadata": signatures}
        self._answer(json.dumps(known).encode())

    def do_POST(self) -> None:
        left = int(self.headers["content-length"])
        while left:
            left -= len(self.rfile.read(min(left, 2**16)))
        time.sleep(0.5)
        self._answer(self.server.answer)  # type: ignore[attr-defined]

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def slow_server(values: int = 1) -> Iterator[str]:
    """Give the URL of a server whose answers have so many values, of two bytes each."""
    with ThreadingHTTPServer(("127.0.0.1", 0), SlowServer) as server:
        server.answer = b'{"outputs": [%s0]}' % (b"0," * (values - 1))  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def small_gateway(url: str, folder: Path) -> Iterator[Gateway]:
    with memory_group(LIMIT) as group, running_gateway(url, folder, group=group) as gateway:
        yield gateway
        assert gateway.process.poll() is None, "nobody was killed"


@pytest.mark.slow
def test_photos_of_phones_are_taken_and_what_there_is_no_room_for_is_refused(
    tmp_path: Path,
) -> None:
    """Two photos at once killed it."""
    with slow_server() as url, small_gateway(url, tmp_path) as gateway:

        def send(photos: int) -> int:
            body = form(*[bytes(PHOTO)] * photos)
            try:
                return gateway.call("POST", "/v1/predict", body, Content_Type=FORM)[0]
            except OSError:
                # Refused in the middle of its body.
                return 429

        def send_json(_: int) -> int:
            try:
                return gateway.call("POST", "/v1/models/mnist:predict", bytes(100 * 2**20))[0]
            except OSError:
                return 429

        with ThreadPoolExecutor(6) as threads:
            assert list(threads.map(send, [1, 1])) == [200, 200]
            assert send(8) == 200
            assert send(16) == 413, "more than one request may have"
            found = Counter(threads.map(send, [8] * 6))
            found += Counter(threads.map(send_json, range(6)))
        assert found.keys() == {200, 429}
        assert gateway.call("GET", "/healthz")[0] == 200
        # There is room again, a moment after their answers are here.
        eventually(lambda: send(8) == 200)


def test_large_answers_to_slow_readers_take_no_memory(tmp_path: Path) -> None:
    values = 150 * 2**20
    with slow_server(values) as url, small_gateway(url, tmp_path) as gateway:
        request = (
            b"POST /v1/models/mnist:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
        )
        with ExitStack() as stack:
            readers = []
            for _ in range(4):
                address = ("127.0.0.1", gateway.port)
                reader = stack.enter_context(socket.create_connection(address, timeout=60))
                reader.sendall(request)
                readers.append(reader)
            for reader in readers:
                assert reader.recv(2**20).startswith(b"HTTP/1.1 200"), "it goes on to come"
            assert gateway.call("GET", "/healthz")[0] == 200
        _, headers, answer = gateway.call("POST", "/v1/models/mnist:predict", b"{}")
        assert len(answer) == int(headers["content-length"]) > 2 * values


@pytest.mark.parametrize("length", ["-1", "x", "9" * 30])
def test_a_length_that_is_none_is_refused(tmp_path: Path, length: str) -> None:
    with slow_server() as url, running_gateway(url, tmp_path) as gateway:
        status, _, _ = gateway.call("POST", "/v1/predict", b"", Content_Length=length)
        assert status in (400, 413, 415)
