"""The front end's program: where it is, starting it, and whether it speaks our protocol."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from ...errors import Code, ServingError
from .frames import ENTRY, HEADER, PROTOCOL, Kind

NAME = "dlstack-frontend"

_HELLO_SECONDS = 60
"""It comes within milliseconds, but where a machine pauses: a program that is none ends at once."""

_BUFFER_BYTES = 2**20


def find(given: str) -> str | None:
    """Return the program: the one that `--front_end_program` names, beside Python, or on PATH."""
    if given:
        return given
    beside = Path(sys.executable).parent / NAME
    if os.access(beside, os.X_OK):
        return str(beside)
    return shutil.which(NAME)


class Program:
    """The running front end.

    Args:
        path: of the program.

    Raises:
        ServingError: it can't be started.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.small, small = socket.socketpair()
        self.large, large = socket.socketpair()
        with small, large:
            for one in (self.small, small, self.large, large):
                for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                    one.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
            command = [path, f"--small={small.fileno()}", f"--large={large.fileno()}"]
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=(small.fileno(), large.fileno()),
                )
            except OSError as error:
                self._close_sockets()
                raise ServingError(Code.UNAVAILABLE, f"{path}: {error.strerror}.") from None

    def greet(self) -> None:
        """Wait for the program's first frame.

        Raises:
            ServingError: it does not come, or the program is of another version.
        """
        self.small.settimeout(_HELLO_SECONDS)
        try:
            data = self.small.recv(HEADER.size, socket.MSG_WAITALL)
        except OSError:
            data = b""
        self.small.settimeout(None)
        kind, status = HEADER.unpack(data)[:2] if len(data) == HEADER.size else (0, 0)
        if kind != Kind.HELLO:
            self.end()
            raise ServingError(Code.UNAVAILABLE, f"{self.path} is no front end of this server.")
        if status != PROTOCOL:
            self.end()
            raise ServingError(
                Code.UNAVAILABLE,
                f"{self.path} speaks version {status} of the protocol, this server {PROTOCOL}. "
                "Build it from the same sources.",
            )
        self.small.recv(ENTRY.size, socket.MSG_WAITALL)  # It came with the header.

    def wait(self, seconds: float) -> int | None:
        """Return the exit status; None: it runs on after that time."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def end(self) -> None:
        """End it at once."""
        self._close_sockets()
        if self.wait(1) is None:
            self._process.kill()
            self._process.wait()

    def _close_sockets(self) -> None:
        self.small.close()
        self.large.close()
