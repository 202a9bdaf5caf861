"""What agents talk over: TCP connections that carry one JSON object a line."""

import contextlib
import ipaddress
import json
import random
import socket
from pathlib import Path
from typing import Any

from training.command_line import TrainingError

_LINE_BYTES = 65536
FIRST_PORT = 20_000
"""Services that are known by their port have lower ones."""
KERNEL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""A machine that is gone without a word is noticed after 25 s."""


class Peer:
    """A connection to another worker's agent."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE.items():
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        self._lines = connection.makefile("rb")
        self.address = ""
        """Where the peer's TensorFlow will listen."""

    @property
    def host(self) -> str:
        """The peer's address."""
        return str(self._socket.getpeername()[0])

    @property
    def own_host(self) -> str:
        """The address of this agent that the peer connected to."""
        return str(self._socket.getsockname()[0])

    def tell(self, message: dict[str, Any]) -> bool:
        """Send `message`; return whether the peer was still there."""
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return False
        return True

    def hear(self, seconds: float | None) -> dict[str, Any] | None:
        """Return the next message; None after the last, after `seconds`, or for any other text."""
        try:
            self._socket.settimeout(seconds)
            message = json.loads(self._lines.readline(_LINE_BYTES) or b"null")
        except (OSError, ValueError):
            return None
        return message if isinstance(message, dict) else None

    def close(self) -> None:
        """End the connection, also for a thread that listens to it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        # The socket itself stays open as long as this file does.
        self._lines.close()
        self._socket.close()


def listen(port: int) -> socket.socket:
    """Return a listener at `port` of all addresses; raise TrainingError when it is taken."""
    both = socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            ("", port),
            family=socket.AF_INET6 if both else socket.AF_INET,
            dualstack_ipv6=both,
        )
    except OSError as error:
        raise TrainingError(
            f"Worker 0 can't listen on port {port}: {error.strerror}. Let the boot "
            "file leave it free."
        ) from error


def free_port() -> int:
    """Return a port that nothing listens at now, and that the kernel gives to nobody by itself.

    The boot file may take half a minute until it listens there. Meanwhile each connection that is
    made from here gets a port of the kernel's own (ip(7), `ip_local_port_range`).
    """
    ours = range(FIRST_PORT, int(KERNEL_PORTS.read_text().split()[0]))
    for port in (*random.sample(ours, len(ours)), 0):
        with contextlib.suppress(OSError), socket.create_server(("", port)) as one:
            return int(one.getsockname()[1])
    raise TrainingError("No port is free for the boot file to listen at.")


def join_address(host: str, port: object) -> str:
    """Return `host:port`; an IPv4 address that was mapped into IPv6 becomes IPv4 again."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
