"""An HTTP proxy of this machine that writes down what it is asked for, and passes on what it may.

A stand-in for a company's: it refuses what a company's proxy could not reach, the platform.
"""

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from urllib.parse import urlsplit

_BUFFER = 65536


class RecordingProxy:
    """Listens on a port of this machine while it is entered.

    Args:
        may: says of a host name or address whether it is passed on; by default nothing is.
        address: at which it listens.
        leads: where a name leads that it alone knows, as it may in a company's network.
    """

    def __init__(
        self,
        may: Callable[[str], bool] = lambda host: False,
        *,
        address: str = "127.0.0.1",
        leads: Callable[[str], str] = lambda host: host,
    ) -> None:
        self._may, self._address, self._leads = may, address, leads
        self.asked: list[str] = []
        """The first line of each request."""

    def __enter__(self) -> "RecordingProxy":
        self._listener = socket.create_server((self._address, 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # `close` alone leaves `accept` waiting, and the port taken.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @property
    def url(self) -> str:
        return f"http://{self._address}:{self.port}"

    def hosts(self) -> set[str]:
        """The names and addresses that it was asked for."""
        return {_target(line)[0] for line in self.asked}

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                chunk = connection.recv(_BUFFER)
                if not chunk:
                    return
                head += chunk
            line = head.partition(b"\r\n")[0].decode(errors="replace")
            self.asked.append(line)
            host, port = _target(line)
            if not self._may(host):
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                return
            with socket.create_connection((self._leads(host), port), 10) as server:
                server.settimeout(None)
                if line.startswith("CONNECT"):
                    connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    server.sendall(head)
                _pass_on_both_ways(connection, server)


def _target(line: str) -> tuple[str, int]:
    """The host and port that a request's first line asks for."""
    method, url, *_ = line.split()
    parts = urlsplit(f"//{url}" if method == "CONNECT" else url)
    return parts.hostname or "", parts.port or (443 if method == "CONNECT" else 80)


def _pass_on_both_ways(one: socket.socket, other: socket.socket) -> None:
    back = threading.Thread(target=_pass_on, args=(other, one), daemon=True)
    back.start()
    _pass_on(one, other)
    back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(_BUFFER):
            target.sendall(chunk)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def is_of_a_platform(host: str, network: str = "10.76.0.0/14") -> bool:
    """Whether a company's proxy could not know a name or address, since a platform has it alone."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith((".svc", ".cluster.local"))
    return address.is_loopback or address in ipaddress.ip_network(network)
