"""Ports for servers of tests that nobody else gets.

One that the kernel calls free may be another process's a moment later: it gives the same to whoever
asks next.
"""

import contextlib
import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

_FIRST, _COUNT = 21_000, 7_000
"""Below the kernel's own (32768 and up) and those of clusters' nodes (30000 and up)."""
_COUNTER = Path(tempfile.gettempdir()) / f"dlstack-test-ports-{os.getuid()}"


def free_port() -> int:
    """Return a TCP port that nothing listens on, and that is told to nobody else.

    It lies below all from which the kernel chooses by itself, and all processes that run tests on
    this machine take them from one counter. A server that is stopped finds its port free again.
    """
    with _COUNTER.open("a+") as counter:
        fcntl.flock(counter, fcntl.LOCK_EX)
        counter.seek(0)
        last = int(counter.read() or os.getpid())
        for number in range(last + 1, last + 1 + _COUNT):
            port = _FIRST + number % _COUNT
            if _is_free(port):
                counter.truncate(0)
                counter.write(str(number))
                return port
    raise RuntimeError("All ports for tests are taken.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            # Of all addresses: a server may listen on any.
            probe.bind(("", port))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def held_ports(count: int) -> Iterator[list[int]]:
    """Hold so many ports, each as `held_port` does, at all addresses."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(held_port("")) for _ in range(count)]


@contextlib.contextmanager
def held_port(*addresses: str) -> Iterator[int]:
    """Hold a port that is free at all of these addresses.

    It is bound and nobody listens: connections are refused, and whoever asks the kernel for any
    port gets another one, until the block ends. A server that sets SO_REUSEADDR takes it all the
    same, as those of Go, asyncio, gRPC, `http.server` and `socket.create_server` do.
    """
    while True:
        with contextlib.ExitStack() as stack:
            try:
                port = _bound(stack, addresses[0], 0)
                for address in addresses[1:]:
                    _bound(stack, address, port)
            except OSError:
                continue
            yield port
            return


def _bound(stack: contextlib.ExitStack, address: str, port: int) -> int:
    one = stack.enter_context(socket.socket())
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind((address, port))
    return int(one.getsockname()[1])
