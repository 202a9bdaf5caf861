"""What is tried again and what is not, over both transports."""

from __future__ import annotations

import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from client import Client, ConnectionFailed, DeadlineExceeded, ServerError, SettingsError

from ..flaky import flaky_server


def client(transport: str, port: int, **settings: Any) -> Client:
    return Client("127.0.0.1", "m", port=port, transport=transport, **settings)


def test_an_unavailable_server_is_asked_again_until_it_answers(transport: str) -> None:
    with flaky_server(transport, failures=2) as flaky, client(transport, flaky.port) as one:
        assert one.status().versions == ()
    assert len(flaky.requests) == 3


def test_retries_are_bounded_by_their_number(transport: str) -> None:
    with (
        flaky_server(transport, failures=99) as flaky,
        client(transport, flaky.port, retries=1) as one,
        pytest.raises(ServerError, match="answered UNAVAILABLE: On purpose"),
    ):
        one.status()
    assert len(flaky.requests) == 2


def test_no_retry_is_begun_that_the_deadline_would_end(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("client._calls.client.time.sleep", pauses.append)
    monkeypatch.setattr("client._calls.core._FIRST_PAUSE", 60.0)
    with (
        flaky_server(transport, failures=99) as flaky,
        client(transport, flaky.port, timeout=30) as one,
        pytest.raises(ServerError, match="UNAVAILABLE"),
    ):
        one.status()
    assert (len(flaky.requests), pauses) == (1, [])


def test_pauses_double_up_to_the_longest(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("client._calls.client.time.sleep", pauses.append)
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    with flaky_server(transport, 6) as flaky, client(transport, flaky.port, retries=6) as one:
        one.status()
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0]


@pytest.mark.parametrize(
    ("transport", "known"),
    # The server of the test would go on answering over REST's open connection.
    [("grpc", True), ("grpc", False), ("rest", False)],
)
def test_a_port_that_drops_connections_for_a_while_is_no_other_kind_of_port(
    transport: str, known: bool, held_port: int
) -> None:
    """A server killed under load: its port, or the balancer before it, took connections and reset
    them, and was taken for one that speaks something else, which is not tried again."""
    one = client(transport, held_port, retries=8, timeout=30)
    if known:
        with flaky_server(transport, failures=0, port=held_port):
            assert one.status().versions == ()
    dropped = threading.Event()

    def drop(listener: socket.socket) -> None:
        # Its own connection, and one by which the client finds out what the port speaks.
        for _ in range(2):
            connection, _ = listener.accept()
            # Not closed but reset.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        listener.close()
        dropped.set()

    listener = socket.create_server(("127.0.0.1", held_port))
    listener.settimeout(20)
    threading.Thread(target=drop, args=(listener,), daemon=True).start()
    with one, ThreadPoolExecutor(1) as caller:
        answer = caller.submit(one.status)
        assert dropped.wait(20)
        with flaky_server(transport, failures=0, port=held_port):
            assert answer.result().versions == ()


def test_a_port_that_only_drops_connections_is_said_so(transport: str) -> None:
    def drop(listener: socket.socket) -> None:
        while True:
            try:
                listener.accept()[0].close()
            except OSError:
                return

    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        client(transport, listener.getsockname()[1], retries=0) as one,
    ):
        threading.Thread(target=drop, args=(listener,), daemon=True).start()
        with pytest.raises(ConnectionFailed, match="takes connections and drops them|broke") as it:
            one.status()
        assert it.value.transient
        listener.shutdown(socket.SHUT_RDWR)


def test_a_port_that_is_silent_for_a_while_is_tried_again(held_port: int) -> None:
    """A node was lost with the pod that a balancer sent to: the port was taken for another kind."""
    with (
        client("grpc", held_port, retries=20, timeout=60) as one,
        ThreadPoolExecutor(1) as caller,
    ):
        with socket.create_server(("127.0.0.1", held_port)) as silent:
            silent.settimeout(30)
            answer = caller.submit(one.status)
            # gRPC's connection, and the client's own, by which it asks what listens.
            taken = [silent.accept()[0] for _ in range(2)]
        with flaky_server("grpc", failures=0, port=held_port):
            assert answer.result().versions == ()
        for connection in taken:
            connection.close()


def test_no_other_status_is_tried_again(transport: str) -> None:
    with (
        flaky_server(transport, failures=99, code="RESOURCE_EXHAUSTED") as flaky,
        client(transport, flaky.port) as one,
        pytest.raises(ServerError, match="RESOURCE_EXHAUSTED"),
    ):
        one.status()
    assert len(flaky.requests) == 1


def test_a_server_that_starts_during_the_pause_is_found(
    transport: str, held_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A channel of gRPC's own settings would still refuse then: it reconnects after a second."""
    servers = []
    real_sleep = time.sleep

    def start_meanwhile(seconds: float) -> None:
        monkeypatch.setattr("client._calls.client.time.sleep", real_sleep)
        servers.append(flaky_server(transport, failures=0, port=held_port))
        servers[0].__enter__()

    monkeypatch.setattr("client._calls.client.time.sleep", start_meanwhile)
    try:
        with client(transport, held_port, retries=5) as one:
            assert one.status().versions == ()
    finally:
        servers[0].__exit__(None, None, None)


def test_nothing_listening_is_tried_again_and_a_wrong_protocol_is_not(
    transport: str, held_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("client._calls.client.time.sleep", pauses.append)
    with client(transport, held_port) as one, pytest.raises(ConnectionFailed):
        one.status()
    assert len(pauses) == 3
    other = "rest" if transport == "grpc" else "grpc"
    with (
        flaky_server(other, failures=0) as flaky,
        client(transport, flaky.port) as one,
        pytest.raises((ConnectionFailed, DeadlineExceeded), match=f"transport `{other}`"),
    ):
        one.status()
    assert len(pauses) == 3


def test_a_negative_number_of_retries_is_refused() -> None:
    with pytest.raises(SettingsError, match="Retries -1 is negative"):
        Client("127.0.0.1", "m", retries=-1)
