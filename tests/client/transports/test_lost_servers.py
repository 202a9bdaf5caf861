"""A server that is lost without a word, as with a node whose power is cut, and others behind the
same address."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from client import AsyncClient, Client, DeadlineExceeded
from tests.client.flaky import flaky_server


class Way:
    """Hands connections on to a port; those that are lost stay open, and nothing comes of them."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connections: list[list[socket.socket]] = []
        self.lost: set[int] = set()
        self.pool = ThreadPoolExecutor(16)
        self.pool.submit(self._accept)

    def lose(self) -> None:
        """Have all connections that there are lead nowhere."""
        self.lost |= set(range(len(self.connections)))

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
                self.connections.append([near, far])
                number = len(self.connections) - 1
                self.pool.submit(self._hand_on, number, near, far)
                self.pool.submit(self._hand_on, number, far, near)

    def _hand_on(self, number: int, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if number not in self.lost:
                    target.sendall(data)

    def close(self) -> None:
        for one in [self.listener, *(end for pair in self.connections for end in pair)]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self.pool.shutdown()


@pytest.fixture(params=["grpc", "rest"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def way(transport: str) -> Iterator[Way]:
    with flaky_server(transport, 0) as server:
        way = Way(server.port)
        yield way
        way.close()


def test_the_next_call_finds_another_server(way: Way, transport: Any) -> None:
    """Symptom: a channel kept the connection to a lost node, and no call was answered for 15
    minutes."""
    with Client("127.0.0.1", "m", port=way.port, transport=transport, timeout=8) as client:
        client.status()
        way.lose()
        with pytest.raises(DeadlineExceeded):
            client.status()
        client.status()


def test_so_does_that_of_an_asynchronous_client(way: Way, transport: Any) -> None:
    async def ask() -> None:
        async with AsyncClient(
            "127.0.0.1", "m", port=way.port, transport=transport, timeout=8
        ) as client:
            await client.status()
            way.lose()
            with pytest.raises(DeadlineExceeded):
                await client.status()
            await client.status()

    asyncio.run(ask())


def test_a_server_that_is_slow_is_asked_over_the_same_connection() -> None:
    """Symptom: each call that was too late gave the overloaded server a connection more."""
    with flaky_server("grpc", 3, code="DEADLINE_EXCEEDED") as server:
        way = Way(server.port)
        with Client("127.0.0.1", "m", port=way.port, retries=0) as client:
            for _ in range(3):
                with pytest.raises(DeadlineExceeded):
                    client.status()
            client.status()
        # Each first error asks what listens there, over a connection of its own.
        assert len(way.connections) == 1 + 3
        way.close()


def test_so_does_an_asynchronous_client() -> None:
    async def ask(port: int) -> None:
        async with AsyncClient("127.0.0.1", "m", port=port, retries=0) as client:
            for _ in range(3):
                with pytest.raises(DeadlineExceeded):
                    await client.status()
            await client.status()

    with flaky_server("grpc", 3, code="DEADLINE_EXCEEDED") as server:
        way = Way(server.port)
        asyncio.run(ask(way.port))
        # Each first error asks what listens there, over a connection of its own.
        assert len(way.connections) == 1 + 3
        way.close()


def test_a_connection_that_does_not_come_is_tried_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Symptom: the whole time of a call went into a connection to a lost node."""
    tried: list[float] = []
    connect = socket.create_connection

    def lost_at_first(address: Any, timeout: float, *rest: Any, **more: Any) -> socket.socket:
        tried.append(timeout)
        if len(tried) < 3:
            raise TimeoutError("timed out")
        return connect(address, timeout, *rest, **more)

    with flaky_server("rest", 0) as server:
        monkeypatch.setattr(socket, "create_connection", lost_at_first)
        with Client("127.0.0.1", "m", port=server.port, transport="rest", retries=0) as client:
            client.status()
    assert tried[0] == 3 and tried[1] == 6 and tried[2] <= 10
