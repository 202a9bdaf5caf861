"""The log of a training Job: the agent's own lines and the boot file's output, in one order."""

import contextlib
import sys
import threading
from pathlib import Path
from typing import TextIO


class JobLog:
    """Lines for whoever watches the process (stdout) and for who comes later (a file)."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("ab", buffering=0)
        self._lock = threading.Lock()

    def line(self, text: str) -> None:
        """Add a line of the agent's own."""
        self.write(f"{text}\n".encode())

    def error(self, text: str) -> None:
        """Add a line that ends the job; it goes to stderr."""
        self.write(f"error: {text}\n".encode(), sys.stderr)

    def write(self, data: bytes, stream: TextIO | None = None) -> None:
        """Add bytes as they are, to the file and to `stream` (default: stdout)."""
        with self._lock:
            self._file.write(data)
            # Whoever read our output may be gone; the training goes on all the same.
            with contextlib.suppress(BrokenPipeError):
                buffer = (stream or sys.stdout).buffer
                buffer.write(data)
                buffer.flush()
