"""Servers at IPv6 addresses, over both transports."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Thread

import pytest

from client import Client
from tests.serving_fixtures import ModelServer

from ..conftest import port_of


@pytest.fixture
def port(mnist: ModelServer, transport: str) -> Iterator[int]:
    """The port of a relay at ::1 to a real server."""
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")

    def copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while part := source.recv(65536):
                target.sendall(part)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def accept(pool: ThreadPoolExecutor) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", port_of(mnist, transport)))
                opened.extend((connection, server))
                pool.submit(copy, connection, server)
                pool.submit(copy, server, connection)

    opened: list[socket.socket] = []
    with ThreadPoolExecutor(8) as pool:
        thread = Thread(target=accept, args=(pool,), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
    for each in opened:
        each.close()


@pytest.mark.parametrize("host", ["::1", "[::1]", "[::1]:{}"])
def test_a_server_at_an_ipv6_address_answers(port: int, transport: str, host: str) -> None:
    given = None if "{}" in host else port
    with Client(host.format(port), "mnist", port=given, transport=transport) as one:
        assert one.status().available
        assert one.address == f"[::1]:{port}"
