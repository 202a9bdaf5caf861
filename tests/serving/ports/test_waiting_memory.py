"""Requests that take or claim more memory than the server's container has: refused, none killed."""

from __future__ import annotations

import io
import json
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

import tests.serving_fixtures
from tests.serving.asking import http_call, outcome
from tests.serving.conftest import predict_request, predict_stub, served
from tests.serving.memory_group import memory_group
from tests.serving_fixtures import ModelServer, running_server
from tests.waiting import eventually

CPU_SMALL = 2 * 2**30
"""Memory limit of a pod of this flavour."""


@contextmanager
def small_server(base: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    """A server that may have no more memory than a pod of the flavour `cpu-small`."""
    whole = tests.serving_fixtures.server_command

    def command(*arguments: Any) -> list[str]:
        # The shell joins the group and becomes the server.
        return ["sh", "-c", group.join + ' && exec "$@"', "sh", *whole(*arguments)]

    with memory_group(CPU_SMALL) as group:
        monkeypatch.setattr(tests.serving_fixtures, "server_command", command)
        with running_server(base, base.name) as server:
            yield server
            assert server.process.poll() is None, "nobody was killed"


def test_requests_that_claim_much_are_refused_and_the_others_answered(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_server(served(models, tmp_path / "kinds", "kinds", 1), monkeypatch) as server:
        request = predict_request("kinds", "echo_float32", x=np.ones(1, np.float32))
        request.inputs["x"].tensor_shape.dim[0].size = 2**24
        assert request.ByteSize() < 60
        address = f"127.0.0.1:{server.grpc_port}"
        with grpc.insecure_channel(
            address, [("grpc.max_receive_message_length", -1)]
        ) as server.channel:
            stub = predict_stub(server)
            outcomes = [outcome(one) for one in [stub.Predict.future(request) for _ in range(40)]]
            codes = Counter(code for code, _ in outcomes)
            assert codes.keys() <= {"OK", "RESOURCE_EXHAUSTED"}
            assert codes["OK"] >= 1
            assert codes["RESOURCE_EXHAUSTED"] >= 1
            assert any(
                "has for requests (--max_waiting_bytes). Try again later." in text
                for _, text in outcomes
            )
            small = predict_request("kinds", "echo_float32", x=np.ones(1, np.float32))
            assert outcome(stub.Predict.future(small)) == ("OK", "")


def test_pictures_count_as_what_they_will_be_decoded(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_server(served(models, tmp_path / "mnist", "mnist", 1), monkeypatch) as server:
        photo, huge = io.BytesIO(), io.BytesIO()
        Image.new("RGB", (6000, 4000), "white").save(photo, "JPEG")
        Image.new("1", (40_000, 40_000)).save(huge, "PNG")

        def request(*files: io.BytesIO) -> Any:
            values = np.array([file.getvalue() for file in files], object)
            return predict_request("mnist", "image_bytes", image_bytes=values)

        stub = predict_stub(server)
        codes = Counter(
            outcome(one)[0] for one in [stub.Predict.future(request(photo)) for _ in range(6)]
        )
        assert codes.keys() <= {"OK", "RESOURCE_EXHAUSTED"}
        assert codes["OK"] >= 1
        code, text = outcome(stub.Predict.future(request(huge)))
        assert code == "INVALID_ARGUMENT"
        assert "Send less at once, or give the server more memory." in text


def test_a_body_that_can_never_fit_is_told_so_and_not_read(models: Path, tmp_path: Path) -> None:
    base = served(models, tmp_path / "kinds", "kinds", 1)
    with running_server(base, "kinds", ["--max_waiting_bytes=1000000"]) as server:
        path = "/v1/models/kinds:predict"
        body = b'{"signature_name":"echo_float32","instances":[' + b" " * 2_000_000 + b"1]}"
        status, text = http_call(server, "POST", path, body)
        assert status == 413
        assert "--max_waiting_bytes" in text
        assert "Send less at once, or give the server more memory." in text
        large = predict_request("kinds", "echo_float32", x=np.zeros(500_000, np.float32))
        code, text = outcome(predict_stub(server).Predict.future(large))
        # The native front end's gRPC has a code and a text of its own for it.
        assert code in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED")
        small = {"signature_name": "echo_float32", "instances": [1]}
        assert http_call(server, "POST", path, small)[0] == 200


@pytest.mark.timeout(300)
def test_answers_that_rest_clients_do_not_take_are_bounded(models: Path, tmp_path: Path) -> None:
    base = served(models, tmp_path / "kinds", "kinds", 1)
    with running_server(base, "kinds", ["--max_waiting_bytes=268435456"]) as server:
        body = {"signature_name": "echo_float32", "instances": [1] * 4_000_000}
        content = json.dumps(body, separators=(",", ":")).encode()
        path = "/v1/models/kinds:predict"
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
        with ExitStack() as clients:
            begins = []
            for _ in range(20):
                client = clients.enter_context(socket.socket())
                client.settimeout(100)
                # The system takes a part of each answer; the rest waits in the server.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
                client.connect(("127.0.0.1", server.rest_port))
                client.sendall(head.encode() + content)
                begins.append(client.recv(12).decode())
            assert set(begins) == {"HTTP/1.1 200", "HTTP/1.1 429"}
            small = {"signature_name": "echo_float32", "instances": [1]}
            assert http_call(server, "POST", path, small)[0] == 200
        eventually(lambda: http_call(server, "POST", path, content)[0] == 200)


def test_answers_that_grpc_clients_do_not_take_are_bounded(models: Path, tmp_path: Path) -> None:
    base = served(models, tmp_path / "kinds", "kinds", 1)
    with running_server(base, "kinds", ["--max_waiting_bytes=67108864"]) as server:
        request = predict_request("kinds", "echo_float32", x=np.ones(1, np.float32))
        request.inputs["x"].tensor_shape.dim[0].size = 2_000_000
        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.use_local_subchannel_pool", 1),
            # Its window stays small: it would hold whole answers otherwise.
            ("grpc.http2.bdp_probe", 0),
            ("grpc.http2.lookahead_bytes", 2**16),
        ]
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", options) as channel:
            # A message of a stream is only received once it is asked for.
            ask = channel.unary_stream("/tensorflow.serving.PredictionService/Predict")
            calls = []
            for _ in range(30):
                calls.append(ask(request.SerializeToString(), timeout=60))
                calls[-1].initial_metadata()
            # Of one that is refused, the headers may be here before its end.
            eventually(lambda: 8_000_000 * sum(call.is_active() for call in calls) <= 67108864, 30)
            refused = [call for call in calls if not call.is_active()]
            assert 0 < len(refused) < 30
            assert {call.code() for call in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
            # In the Python port's words, others hold the memory.
            assert "--max_waiting_bytes). Try again later." in refused[0].details()
            assert (30 - len(refused)) * 8_000_000 <= 67108864
            small = predict_request("kinds", "echo_float32", x=np.ones(1, np.float32))
            assert outcome(predict_stub(server).Predict.future(small)) == ("OK", "")
            [message] = next(call for call in calls if call.is_active())
            assert len(message) > 8_000_000
        large = predict_stub(server).Predict
        eventually(lambda: outcome(large.future(request))[0] != "UNAVAILABLE")
