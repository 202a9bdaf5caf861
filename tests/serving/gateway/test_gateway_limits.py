"""Too many requests, and clients that send theirs too slowly, against a real gateway and server."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.serving.conftest import served, slow_request
from tests.serving.gateway.running import FORM, band, form, running_gateway
from tests.serving_fixtures import ModelServer, running_server

FULL = "2 predictions are under way, and no more may be (--max_predictions). Try again later."
LATE = "The request's body was not there after 0.5 s. Send it faster."


def test_one_prediction_too_many_is_a_429_that_says_when_to_come_back(
    models: Path, tmp_path: Path
) -> None:
    base = served(models, tmp_path / "kinds", "kinds", 1)
    with (
        running_server(base, "kinds") as server,
        running_gateway(server.rest_url, base, "--max_predictions=2") as app,
    ):
        steps = slow_request(server, seconds=1.5).inputs["steps"].int_val[0]
        slow = json.dumps({"signature_name": "slow", "instances": [steps]}).encode()

        def ask(_each: int = 0) -> tuple[int, str | None, bytes]:
            status, headers, body = app.call("POST", "/v1/models/kinds:predict", slow)
            if status == 429:
                # Full now: pictures are refused too, everything else is answered.
                got, _, answer = app.call("POST", "/v1/predict", form(band(1)), Content_Type=FORM)
                assert (got, json.loads(answer)) == (429, {"error": FULL})
                assert app.call("GET", "/healthz")[0] == 200
                assert app.call("GET", "/v1/models/kinds")[0] == 200
                assert app.call("GET", "/status")[0] == 200
            return status, headers.get("retry-after"), body

        with ThreadPoolExecutor(3) as threads:
            answers = sorted(threads.map(ask, range(3)))
        assert [answer[:2] for answer in answers] == [(200, None), (200, None), (429, "1")]
        assert json.loads(answers[-1][2]) == {"error": FULL}
        assert ask()[0] == 200, "there is room again"


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/models/mnist:predict"])
def test_a_body_that_stalls_is_a_408_and_holds_up_nobody(
    mnist: ModelServer, tmp_path: Path, path: str
) -> None:
    flags = ["--body_timeout=0.5", "--max_predictions=1"]
    with running_gateway(mnist.rest_url, tmp_path, *flags) as app:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: 5000\r\n"
        )
        with socket.create_connection(("127.0.0.1", app.port), timeout=10) as stalled:
            started = time.monotonic()
            stalled.sendall(head.encode() + b"\r\n" + form(band(1))[:100])
            status, answer = app.post(band(4))
            assert (status, answer["predictions"]) == (200, [4])
            # To its end: the gateway closes the connection.
            reply = b"".join(iter(lambda: stalled.recv(65536), b""))
            assert 0.4 < time.monotonic() - started < 5
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
    with running_gateway(mnist.rest_url, tmp_path, "--body_timeout=0.5") as app:
        with socket.create_connection(("127.0.0.1", app.port), timeout=10) as silent:
            silent.sendall(begin)
            assert silent.recv(100) == b""
        # The second request of a connection as well.
        with socket.create_connection(("127.0.0.1", app.port), timeout=10) as second:
            second.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            while b"ok" not in second.recv(1000):
                pass
            second.sendall(begin or b"G")
            assert second.recv(100) == b""


def test_connections_without_end_are_bounded(mnist: ModelServer, tmp_path: Path) -> None:
    with running_gateway(mnist.rest_url, tmp_path) as app, ExitStack() as stack:
        address = ("127.0.0.1", app.port)
        opened = [stack.enter_context(socket.create_connection(address)) for _ in range(1005)]
        opened[-1].settimeout(10)
        assert opened[-1].recv(12) == b"HTTP/1.1 503"
        stack.close()
        deadline = time.monotonic() + 10
        while app.call("GET", "/healthz")[0] == 503:
            assert time.monotonic() < deadline
