"""Files and pipes read a part at a time: a table may be larger than memory."""

from __future__ import annotations

import codecs
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, TextIO

from ..errors import FileError
from .paths import STDIN, is_stream

#: Of a pipe, to see of what kind it is; of a file, to see whether it is text.
_PART = 1 << 16


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """Open a file or standard input.

    Raises:
        FileError: it cannot be read.
    """
    if path == STDIN:
        if sys.stdin is None:
            raise FileError(path, "Standard input is closed. Give it a file, or name one.")
        yield sys.stdin.buffer
        return
    try:
        with open(path, "rb") as stream:
            yield stream
    except FileNotFoundError as exc:
        raise FileError(path, f"There is no file {path!r}. Check the path.") from exc
    except OSError as exc:
        raise FileError(
            path, f"Cannot read {path!r} ({exc.strerror or exc}). Check its permissions."
        ) from exc


def read(path: str) -> bytes:
    """Return the content of a file, or of standard input.

    Raises:
        FileError: it cannot be read.
    """
    with opened(path) as stream:
        return stream.read()


class _Begun(io.RawIOBase):
    """A stream of which the beginning was read already."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = memoryview(head)
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        part = self._head[: len(buffer)]
        self._head = self._head[len(part) :]
        if not part:
            part = memoryview(self._rest.read(len(buffer)))
        buffer[: len(part)] = part
        return len(part)


def begin(stream: BinaryIO) -> tuple[bytes, BinaryIO]:
    """Return the beginning of a stream, and a stream of all of it."""
    head = stream.read(_PART)
    return head, io.BufferedReader(_Begun(head, stream), _PART)  # type: ignore[type-var]


@contextmanager
def as_text(path: str, stream: BinaryIO) -> Iterator[TextIO]:
    """Give a stream's text, lines as they end there.

    Raises:
        FileError: it is no UTF-8. Of a file, that is found before anything of it is given.
    """
    try:
        if not is_stream(path):
            check = codecs.getincrementaldecoder("utf-8")()
            while part := stream.read(_PART):
                check.decode(part)
            check.decode(b"", True)
            stream.seek(0)
        text = io.TextIOWrapper(stream, "utf-8-sig", newline="")
        try:
            yield text
        finally:
            text.detach()
    except UnicodeDecodeError as exc:
        raise FileError(path, f"{path!r} is not UTF-8 text ({exc}). Save it as such.") from exc
