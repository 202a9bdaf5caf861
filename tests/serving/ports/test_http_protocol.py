"""The REST port's HTTP: what is no body is bounded, and what is one comes in any pieces."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from tests.serving.conftest import slow_request
from tests.serving_fixtures import ModelServer

BODY = json.dumps({"signature_name": "echo_float32", "instances": [7.0]}).encode()
PATH = b"/v1/models/kinds:predict"


def connected(server: ModelServer) -> closing[socket.socket]:
    host, port = server.rest_url.removeprefix("http://").split(":")
    return closing(socket.create_connection((host, int(port)), timeout=30))


def answered(connection: socket.socket) -> bytes:
    """Return all that comes until the server closes the connection."""
    received = b""
    # With a reset, if something was still on its way to it.
    with suppress(ConnectionResetError):
        while data := connection.recv(65536):
            received += data
    return received


def endless(piece: bytes) -> Iterator[bytes]:
    yield b"POST " + PATH + b" HTTP/1.1\r\nhost: x\r\n"
    while True:
        yield piece


def endless_trailers(piece: bytes) -> Iterator[bytes]:
    yield b"POST " + PATH + b" HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"
    while True:
        yield piece


@pytest.mark.parametrize(
    "pieces",
    [
        endless(b"a: " + b"b" * 1000 + b"\r\n"),
        endless(b"b" * 1000),
        endless_trailers(b"a: " + b"b" * 1000 + b"\r\n"),
    ],
    ids=["headers", "one header", "trailers"],
)
def test_what_does_not_end_is_refused(kinds: ModelServer, pieces: Iterator[bytes]) -> None:
    sent = 0
    with connected(kinds) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                sent += len(piece)
                assert sent < 16 * 2**20, "more than the sockets' buffers hold"
        except (BrokenPipeError, ConnectionResetError):
            pass


def test_a_client_that_closes_its_side_too_early_is_told_so(
    kinds: ModelServer, only_native: None
) -> None:
    """503, 'The server is stopping.'"""
    steps = int(slow_request(kinds, seconds=4).inputs["steps"].int_val[0])
    body = json.dumps({"signature_name": "slow", "inputs": {"steps": [steps]}}).encode()
    with connected(kinds) as connection:
        head = b"POST " + PATH + b" HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
        connection.sendall(head % len(body) + body)
        connection.shutdown(socket.SHUT_WR)
        answer = answered(connection)
        assert b" 400 " in answer
        assert b"closed on the client's side before the answer. Keep it open." in answer


def test_long_headers_are_told_so(kinds: ModelServer) -> None:
    with connected(kinds) as connection:
        connection.sendall(b"POST " + PATH + b" HTTP/1.1\r\nhost: x\r\na: " + b"b" * 80_000)
        assert b" 431 " in answered(connection)


@pytest.mark.parametrize(
    "start",
    [
        b"GET /v1/models/kinds HTTP/1.1\r\nhost: x\r\na: " + b"b" * 80_000,
        b"GET /v1/models/kinds HTTP/1.1\r\nhost: x" + b"\r\nheader: value" * 6_000,
        b"GET /v1/models/" + b"k" * 80_000 + b" HTTP/1.1\r\nhost: x",
    ],
    ids=["one header", "headers", "address"],
)
def test_the_bound_of_headers_holds_when_their_end_comes_with_them(
    kinds: ModelServer, start: bytes
) -> None:
    with connected(kinds) as connection:
        connection.sendall(start + b"\r\n\r\n")
        assert b" 431 " in answered(connection)


def test_a_path_with_characters_that_should_be_encoded_is_a_400(kinds: ModelServer) -> None:
    path = "/v1/models/kinds/labels/é".encode()
    with connected(kinds) as connection:
        connection.sendall(b"GET " + path + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert b" 400 " in answered(connection)


def test_a_body_in_many_small_chunks_is_read(kinds: ModelServer) -> None:
    """Their framing alone is longer than headers may be."""
    padded = BODY[:-1] + b" " * 20_000 + b"}"
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in padded)
    with connected(kinds) as connection:
        connection.sendall(
            b"POST " + PATH + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
            b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
        )
        assert b" 200 " in (answer := answered(connection))
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"predictions": [7.0]}


def test_many_requests_go_over_one_connection(kinds: ModelServer) -> None:
    request = b"POST %b HTTP/1.1\r\nhost: x\r\nfiller: %b\r\ncontent-length: %d\r\n\r\n%b"
    with connected(kinds) as connection:
        for _ in range(5):  # Together longer than the headers of one may be.
            connection.sendall(request % (PATH, b"f" * 30_000, len(BODY), BODY))
            answer = b""
            while b"predictions" not in answer or not answer.endswith(b"}"):
                answer += connection.recv(65536)
            assert b" 200 " in answer
        connection.sendall(b"".join([request % (PATH, b"f", len(BODY), BODY)] * 3))
        answer = b""
        while answer.count(b"HTTP/1.1 200") < 3:
            assert (data := connection.recv(65536))
            answer += data
