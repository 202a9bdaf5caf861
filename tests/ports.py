"""Ports for servers of tests, of which each is given away once.

One that the kernel calls free may be another process's a moment later: it gives the same to whoever
asks next. So these lie below all from which it chooses by itself, and all processes that run tests
on this machine take them from one counter. A server that is stopped finds its port free again.
"""

import fcntl
import os
import socket
import tempfile
from pathlib import Path

_FIRST, _COUNT = 21_000, 7_000
"""Below the kernel's own (32768 and up) and those of clusters' nodes (30000 and up)."""
_COUNTER = Path(tempfile.gettempdir()) / f"dlstack-test-ports-{os.getuid()}"


def free_port() -> int:
    """Return a TCP port that nothing listens on, and that is told to nobody else."""
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
