"""Requests that are too large, on both ports of a real server."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from tensorflow.core.framework import types_pb2

from serving import config
from serving.errors import InvalidArgument
from serving.wire import tensor_proto
from tests.serving.conftest import predict_request, predict_stub, served
from tests.serving_fixtures import ModelServer, running_server

MOST = 10_000
TOO_LARGE = (
    "The request's body is larger than the server takes: 10000 bytes (--max_request_bytes). "
    "Send less at once."
)
HEAD = "POST /v1/models/half:predict HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def server(
    models: Path, tmp_path_factory: pytest.TempPathFactory, front_end: str
) -> Iterator[ModelServer]:
    base = served(models, tmp_path_factory.mktemp("size") / "half", "half_plus_two", 1)
    with running_server(base, "half", [f"--max_request_bytes={MOST}"]) as running:
        yield running


def exchange(server: ModelServer, data: bytes) -> tuple[bytes, bytes]:
    """Send bytes, and read head and body of the answer until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=60) as connection:
        connection.sendall(data)
        reply = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = reply.partition(b"\r\n\r\n")
    return head, body


def json_of(size: int) -> bytes:
    """Return a request with about `size` bytes."""
    return json.dumps({"instances": [1.0] * (size // 5)}).encode()


def test_rest_refuses_by_content_length_without_reading_the_body(server: ModelServer) -> None:
    # The body never comes: whoever wanted to read it would wait for ever.
    head, body = exchange(server, f"{HEAD}Content-Length: {MOST + 1}\r\n\r\n".encode())
    assert head.startswith(b"HTTP/1.1 413 ")
    assert json.loads(body) == {"error": TOO_LARGE}


def test_rest_refuses_a_chunked_body_once_it_is_too_long(server: ModelServer) -> None:
    chunk = b"1000\r\n" + b" " * 4096 + b"\r\n"
    # No last chunk: as far as the server knows it goes on for ever.
    head, body = exchange(server, f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode() + chunk * 3)
    assert head.startswith(b"HTTP/1.1 413 ")
    assert json.loads(body) == {"error": TOO_LARGE}


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_rest_takes_what_just_fits(server: ModelServer, framing: str) -> None:
    content = json_of(MOST // 2).ljust(MOST)
    head = HEAD + "Connection: close\r\n"
    if framing == "length":
        data = f"{head}Content-Length: {MOST}\r\n\r\n".encode() + content
    else:
        head += "Transfer-Encoding: chunked\r\n\r\n"
        data = head.encode() + f"{MOST:x}\r\n".encode() + content + b"\r\n0\r\n\r\n"
    answer, body = exchange(server, data)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert json.loads(body)["predictions"] == [2.5] * (MOST // 10)


def test_grpc_refuses_what_is_too_large(server: ModelServer) -> None:
    stub = predict_stub(server)
    fits = predict_request("half", x=np.zeros(MOST // 4 - 50, np.float32))
    assert len(stub.Predict(fits).outputs["y"].float_val) == MOST // 4 - 50
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(predict_request("half", x=np.zeros(MOST // 4, np.float32)))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert f"{MOST}" in caught.value.details()


def test_the_channel_argument_has_precedence(models: Path, tmp_path: Path) -> None:
    base = served(models, tmp_path / "half", "half_plus_two", 1)
    argument = "--grpc_channel_arguments=grpc.max_receive_message_length=100000"
    with running_server(base, "half", [f"--max_request_bytes={MOST}", argument]) as server:
        answer = predict_stub(server).Predict(predict_request("half", x=np.ones(MOST, np.float32)))
        assert len(answer.outputs["y"].float_val) == MOST


@pytest.mark.parametrize("value", ["0", "-1", str(2**31)])
def test_a_limit_that_makes_no_sense_is_refused(value: str) -> None:
    with pytest.raises(InvalidArgument, match=f"--max_request_bytes is {value}. Use 1 to"):
        config.parse(["--model_base_path=/m", f"--max_request_bytes={value}"])


@pytest.mark.parametrize(
    ("dtype", "most"), [("uint8", 1 << 26), ("float32", 1 << 24), ("complex128", 1 << 22)]
)
def test_one_value_fills_64_mib_and_no_more(dtype: str, most: int) -> None:
    proto = predict_request("m", x=np.ones(1, dtype)).inputs["x"]
    proto.tensor_shape.dim[0].size = most + 1
    array = tensor_proto.from_proto(proto)
    assert array.shape == (most + 1,)
    assert array[-1] == 1
    proto.tensor_shape.dim[0].size = most + 2
    with pytest.raises(ValueError, match="too few values for the shape"):
        tensor_proto.from_proto(proto)


def test_one_string_fills_64_mib_of_references_and_no_more() -> None:
    proto = predict_request("m", x=np.array([b"x"], object)).inputs["x"]
    assert proto.dtype == types_pb2.DT_STRING
    proto.tensor_shape.dim[0].size = (1 << 23) + 2
    with pytest.raises(ValueError, match="too few values for the shape"):
        tensor_proto.from_proto(proto)
