"""Text with LF at the ends of its lines, however Git or an editor has left it on this machine.

With `core.autocrlf` (usual on Windows) Git writes CRLF into the files that it takes for text. What
is text is decided as Git decides it (`convert_is_binary` in its convert.c), so that all that Git
has changed is changed back, and what Git leaves alone stays as it is.
"""

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

IN_MEMORY_BYTES = 16 * 2**20
"""A larger file is read piece by piece."""

_CHUNK_BYTES = 2**20

_PRINTABLE = bytes(byte for byte in range(256) if byte >= 32 and byte != 127) + b"\b\t\x1b\f"
_CONTROL = bytes(byte for byte in range(256) if byte not in _PRINTABLE + b"\r\n")
_LONE_CR = re.compile(rb"\r(?!\n)")


def open_with_lf(path: str | Path) -> BinaryIO:
    """Open a file to be read: a text with LF at the ends of its lines, anything else as it is.

    Raises:
        OSError: it can't be read.
    """
    file: BinaryIO = open(path, "rb")  # noqa: SIM115
    try:
        if os.fstat(file.fileno()).st_size <= IN_MEMORY_BYTES:
            with file:
                return io.BytesIO(with_lf(file.read()))
        text = is_text(_whole_ends(_chunks(file)))
        file.seek(0)
        return io.BufferedReader(_LfReader(file)) if text else file
    except BaseException:
        file.close()
        raise


def with_lf(content: bytes) -> bytes:
    """Return a text with LF at the ends of its lines, anything else as it is."""
    if b"\r\n" not in content or not is_text([content]):
        return content
    return content.replace(b"\r\n", b"\n")


def is_text(chunks: Iterator[bytes] | list[bytes]) -> bool:
    """Say whether Git takes it for text. No chunk may end between CR and LF."""
    controls, printable, last = 0, 0, b""
    for chunk in chunks:
        if b"\0" in chunk or _LONE_CR.search(chunk):
            return False
        controls += (found := len(chunk) - len(chunk.translate(None, _CONTROL)))
        printable += len(chunk) - found - chunk.count(b"\r") - chunk.count(b"\n")
        last = chunk[-1:] or last
    # The end-of-file character of DOS is none of the text's.
    return controls - (last == b"\x1a") <= printable >> 7


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk


def _whole_ends(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in chunks that do not end between CR and LF."""
    held = b""
    for chunk in chunks:
        chunk, held = held + chunk, b""
        if chunk.endswith(b"\r"):
            chunk, held = chunk[:-1], b"\r"
        yield chunk
    yield held


class _LfReader(io.RawIOBase):
    """Reads a text file, with LF in place of each CRLF."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._chunks = _whole_ends(_chunks(file))
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = memoryview(chunk.replace(b"\r\n", b"\n"))
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size

    def close(self) -> None:
        self._file.close()
        super().close()
