"""The log of a training Job: the agent's own lines and the boot file's output, in one order."""

import contextlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

LOG_FILE = "log.txt"
"""Below the URL of `--train_url` (docs/contracts.md)."""


class JobLog:
    """Lines for whoever watches the process (stdout) and for who comes later (a file).

    A file that can't be written, since the disk is full, stops nobody: the lines go to stdout.

    Args:
        file: is appended to.
        sees: called with what is written, which is whole lines.
    """

    def __init__(self, file: Path, sees: Callable[[bytes], None] = lambda _: None) -> None:
        self._file = file.open("ab", buffering=0)
        self._sees = sees
        self._lock = threading.Lock()
        self._fails = False

    def line(self, text: str) -> None:
        """Add a line of the agent's own."""
        self.write(f"{text}\n".encode())

    def error(self, text: str) -> None:
        """Add a line that ends the job; it goes to stderr."""
        self.write(f"error: {text}\n".encode(), sys.stderr)

    def write(self, data: bytes, stream: TextIO | None = None) -> None:
        """Add bytes as they are, to the file and to `stream` (default: stdout)."""
        with self._lock:
            try:
                self._file.write(data)
                self._fails = False
            except OSError as error:
                if not self._fails:
                    missing = f"The kept log has a gap here: {error.strerror}.\n"
                    _pass_on(missing.encode(), sys.stdout)
                self._fails = True
            _pass_on(data, stream or sys.stdout)
        self._sees(data)


def _pass_on(data: bytes, stream: TextIO) -> None:
    # Whoever read our output may be gone; the training goes on all the same.
    with contextlib.suppress(OSError):
        stream.buffer.write(data)
        stream.buffer.flush()
