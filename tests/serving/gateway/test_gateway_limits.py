"""Too many requests, and clients that send theirs too slowly, against a real gateway."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.serving.gateway.running import FORM, band, form, running_gateway
from tests.serving.gateway.test_gateway_memory import SlowServer
from tests.serving_fixtures import ModelServer
from tests.waiting import eventually

FULL = "2 predictions are under way, and no more may be (--max_predictions). Try again later."
LATE = "The request's body was not there after 3 s. Send it faster."


def test_one_prediction_too_many_is_a_429_that_says_when_to_come_back(tmp_path: Path) -> None:
    asked, go_on = threading.Semaphore(0), threading.Event()

    class HeldServer(SlowServer):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            asked.release()
            assert go_on.wait(100)
            self._answer(b'{"predictions": [1]}')

    with ThreadingHTTPServer(("127.0.0.1", 0), HeldServer) as server, ExitStack() as stack:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        url = f"http://127.0.0.1:{server.server_port}"
        app = stack.enter_context(running_gateway(url, tmp_path, "--max_predictions=2"))
        threads = stack.enter_context(ThreadPoolExecutor(2))
        stack.callback(go_on.set)

        def ask() -> tuple[int, str | None, bytes]:
            status, headers, body = app.call("POST", "/v1/models/mnist:predict", b"{}")
            return status, headers.get("retry-after"), body

        answers = [threads.submit(ask) for _ in range(2)]
        for _ in answers:
            assert asked.acquire(timeout=60)
        status, again, body = ask()
        assert (status, again, json.loads(body)) == (429, "1", {"error": FULL})
        # Pictures are refused too, everything else is answered.
        status, _, body = app.call("POST", "/v1/predict", form(band(1)), Content_Type=FORM)
        assert (status, json.loads(body)) == (429, {"error": FULL})
        for path in ("/healthz", "/v1/models/mnist", "/status"):
            assert app.call("GET", path)[0] == 200
        go_on.set()
        assert [answer.result()[0] for answer in answers] == [200, 200]
        # There is room again, a moment after their answers are here.
        eventually(lambda: ask()[0] == 200)


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/models/mnist:predict"])
def test_a_body_that_stalls_is_a_408_and_holds_up_nobody(
    mnist: ModelServer, tmp_path: Path, path: str
) -> None:
    flags = ["--body_timeout=3", "--max_predictions=1"]
    with running_gateway(mnist.rest_url, tmp_path, *flags) as app:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: 5000\r\n"
        )
        with socket.create_connection(("127.0.0.1", app.port), timeout=60) as stalled:
            started = time.monotonic()
            stalled.sendall(head.encode() + b"\r\n" + form(band(1))[:100])
            status, answer = app.post(band(4))
            assert (status, answer["predictions"]) == (200, [4])
            # To its end: the gateway closes the connection.
            reply = b"".join(iter(lambda: stalled.recv(65536), b""))
            assert 2.9 < time.monotonic() - started < 20
        headers, _, body = reply.partition(b"\r\n\r\n")
        assert headers.startswith(b"HTTP/1.1 408 ")
        assert json.loads(body) == {"error": LATE}
        assert app.post(band(4))[0] == 200


@pytest.mark.parametrize("flag", ["--max_predictions=0", "--body_timeout=-1"])
def test_limits_that_make_no_sense_are_refused(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from serving.gateway.__main__ import main

    with pytest.raises(SystemExit):
        main(["--model_name=mnist", flag])
    assert flag.replace("=", " is ") in capsys.readouterr().err


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/models/mnist:predict"])
def test_a_client_that_goes_in_the_middle_of_its_body_is_no_error(
    mnist: ModelServer, tmp_path: Path, path: str
) -> None:
    """Each used to leave a traceback in the log, which `running_gateway` looks for."""
    with running_gateway(mnist.rest_url, tmp_path) as app:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: 5000\r\n"
        )
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", app.port)) as connection:
                connection.sendall(head.encode() + b"\r\nhalf")
        assert app.call("GET", "/healthz")[0] == 200


@pytest.mark.parametrize("begin", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_headers_that_do_not_come_end_the_connection(
    mnist: ModelServer, tmp_path: Path, begin: bytes
) -> None:
    with running_gateway(mnist.rest_url, tmp_path, "--body_timeout=2") as app:
        with socket.create_connection(("127.0.0.1", app.port), timeout=20) as silent:
            silent.sendall(begin)
            assert silent.recv(100) == b""
        # The second request of a connection as well.
        with socket.create_connection(("127.0.0.1", app.port), timeout=20) as second:
            second.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            received = b""
            while b"ok" not in received:
                assert (data := second.recv(1000))
                received += data
            second.sendall(begin or b"G")
            assert second.recv(100) == b""


def test_connections_without_end_are_bounded(mnist: ModelServer, tmp_path: Path) -> None:
    with running_gateway(mnist.rest_url, tmp_path) as app, ExitStack() as stack:
        address = ("127.0.0.1", app.port)
        opened = [stack.enter_context(socket.create_connection(address)) for _ in range(1005)]
        opened[-1].settimeout(60)
        assert opened[-1].recv(12) == b"HTTP/1.1 503"
        stack.close()
        deadline = time.monotonic() + 60
        while app.call("GET", "/healthz")[0] == 503:
            assert time.monotonic() < deadline
