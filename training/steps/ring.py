"""Sums over the workers of one run, by a ring of TCP connections: of workers without GPUs.

Each worker sends to the next one and receives from the one before it. An array is cut into as many
parts as there are workers, which go round twice: first each part becomes the sum of all, then all
get it. So a worker sends less than twice the array, however many workers there are.

TensorFlow's own collectives send as much, in messages of gRPC, which copies it over and over: for
the 1.2 MB of gradients of MNIST's `cnn` that takes a worker with one core nearly twice as long.
"""

import contextlib
import itertools
import select
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from training.command_line import WorkerLost

_HELLO = struct.Struct(">16sI")
_NAME = b"dlstack ring"
_JOIN_SECONDS = 600.0
"""How long the others may take to load TensorFlow, once all agents are there."""
_CONNECT_SECONDS = 5.0
_RETRY_SECONDS = 0.1
_PIECE = 1 << 20
"""Bytes that are given to the kernel at a time."""
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 6}
"""A machine that is gone without a word is noticed after 40 s. The agents notice it before."""


class Ring:
    """This worker's place in the ring.

    Args:
        addresses: of all workers, in their order: `host:port`, and each listens at its own port.
        index: of this one, from 0.

    Raises:
        WorkerLost: another one did not come.
    """

    def __init__(self, addresses: Sequence[str], index: int) -> None:
        self._count, self._index = len(addresses), index
        self.is_broken = False
        """Whether a neighbour is gone; no sum can be made any more."""
        until = time.monotonic() + _JOIN_SECONDS
        with contextlib.ExitStack() as left, _listener(addresses[index]) as listener:
            self._next = _connect(addresses[(index + 1) % self._count], until)
            left.callback(self._next.close)
            self._next.sendall(_HELLO.pack(_NAME, index))
            self._previous = self._accept(listener, until)
            left.pop_all()
        for one in (self._next, self._previous):
            one.setblocking(False)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEEPALIVE.items():
                one.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

    def sum(self, given: "np.ndarray[Any, Any]", *, mean: bool) -> "np.ndarray[Any, Any]":
        """Return the sum, or the mean, of the arrays of all workers: [n] -> [n], equal on all.

        All call it as often, with arrays of one size and type.

        Raises:
            ConnectionError: another worker is gone.
        """
        flat = given.copy()
        bounds = [len(flat) * part // self._count for part in range(self._count + 1)]
        parts = [flat[low:high] for low, high in itertools.pairwise(bounds)]
        received = np.empty(max(map(len, parts)), flat.dtype)
        for step in range(self._count - 1):
            part = self._part(parts, -step - 1)
            self._exchange(self._part(parts, -step), received[: len(part)])
            part += received[: len(part)]
        if mean:
            whole = self._part(parts, 1)
            whole /= flat.dtype.type(self._count)
        for step in range(self._count - 1):
            self._exchange(self._part(parts, 1 - step), self._part(parts, -step))
        return flat

    def close(self) -> None:
        """Leave the ring."""
        self._next.close()
        self._previous.close()

    def _part(self, parts: "list[np.ndarray[Any, Any]]", distance: int) -> Any:
        return parts[(self._index + distance) % self._count]

    def _exchange(self, out: "np.ndarray[Any, Any]", into: "np.ndarray[Any, Any]") -> None:
        """Send `out` to the next worker and fill `into` from the one before, both at once."""
        outgoing, incoming = out.view(np.uint8).data, into.view(np.uint8).data
        sent = got = 0
        try:
            while sent < len(outgoing) or got < len(incoming):
                before = sent + got
                if sent < len(outgoing):
                    sent += self._send(outgoing[sent : sent + _PIECE])
                if got < len(incoming):
                    got += self._receive(incoming[got:])
                if sent + got == before:
                    self._await(sends=sent < len(outgoing), receives=got < len(incoming))
        except OSError as error:
            self.is_broken = True
            raise ConnectionError(f"a worker is gone: {error}") from error

    def _send(self, piece: memoryview) -> int:
        try:
            return self._next.send(piece)
        except BlockingIOError:
            return 0

    def _receive(self, piece: memoryview) -> int:
        try:
            count = self._previous.recv_into(piece)
        except BlockingIOError:
            return 0
        if not count:
            raise ConnectionError("it has closed its connection")
        return count

    def _await(self, *, sends: bool, receives: bool) -> None:
        """Return when something can be sent or received."""
        waiting = select.poll()
        if sends:
            waiting.register(self._next, select.POLLOUT)
        if receives:
            waiting.register(self._previous, select.POLLIN)
        waiting.poll()

    def _accept(self, listener: socket.socket, until: float) -> socket.socket:
        """Return the connection of the worker before this one; others are closed."""
        wanted = (self._index - 1) % self._count
        while (left := until - time.monotonic()) > 0:
            listener.settimeout(left)
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                break
            connection.settimeout(_CONNECT_SECONDS)
            if _hello(connection) == wanted:
                return connection
            connection.close()
        raise WorkerLost(f"Worker {wanted} did not come within {_JOIN_SECONDS:.0f} s.")


def _listener(address: str) -> socket.socket:
    """Return a listener at the address's port, on all interfaces."""
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    return socket.create_server(("", _split(address)[1]), family=family, dualstack_ipv6=both)


def _connect(address: str, until: float) -> socket.socket:
    """Return a connection to a worker that may still have to load TensorFlow."""
    while True:
        try:
            return socket.create_connection(_split(address), _CONNECT_SECONDS)
        except OSError as error:
            if time.monotonic() > until:
                raise WorkerLost(
                    f"The worker at '{address}' did not come within {_JOIN_SECONDS:.0f} s: {error}."
                ) from error
            time.sleep(_RETRY_SECONDS)


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _hello(connection: socket.socket) -> int | None:
    """Return the number of the worker that connected; None of somebody else."""
    said = b""
    try:
        while len(said) < _HELLO.size:
            more = connection.recv(_HELLO.size - len(said))
            if not more:
                return None
            said += more
    except OSError:
        return None
    name, index = _HELLO.unpack(said)
    return int(index) if name.rstrip(b"\0") == _NAME else None
