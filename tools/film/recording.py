"""A command in a terminal: what it writes, and when. Kept as asciinema does (asciicast, version 2).

https://docs.asciinema.org/manual/asciicast/v2/
"""

import codecs
import fcntl
import json
import os
import pty
import struct
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Recording:
    """What a command wrote into a terminal of this size."""

    columns: int
    rows: int
    output: Sequence[tuple[float, str]]
    """Seconds since the start, and what came then."""
    seconds: float
    """From the start to the end."""

    @classmethod
    def of(
        cls, command: Sequence[str], columns: int, rows: int, environment: Mapping[str, str]
    ) -> "Recording":
        """Run a command in a terminal of its own; show its output here as well.

        Raises:
            SystemExit: the command failed.
        """
        begun = time.monotonic()
        pid, terminal = pty.fork()
        if pid == 0:
            os.execvpe(command[0], list(command), {**os.environ, **environment})
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        output: list[tuple[float, str]] = []
        while chunk := _read(terminal):
            text = decoder.decode(chunk)
            output.append((time.monotonic() - begun, text))
            sys.stdout.write(text)
            sys.stdout.flush()
        seconds = time.monotonic() - begun
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(terminal)
        if status:
            sys.exit(f"error: `{' '.join(command)}` ended with status {status}: no film of that.")
        return cls(columns, rows, output, seconds)

    @classmethod
    def read(cls, file: Path) -> "Recording":
        """Read what `write` has written."""
        head, *events = map(json.loads, file.read_text().splitlines())
        output = [(at, text) for at, kind, text in events if kind == "o"]
        return cls(head["width"], head["height"], output, head["duration"])

    def write(self, file: Path) -> None:
        """Write a file that `asciinema play` plays as well."""
        size = {"width": self.columns, "height": self.rows}
        head = {"version": 2, **size, "duration": round(self.seconds, 3)}
        events = [[round(at, 3), "o", text] for at, text in self.output]
        file.write_text("".join(f"{json.dumps(line)}\n" for line in [head, *events]))


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # The last program that had the terminal has ended.
        return b""
