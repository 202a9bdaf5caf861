"""TFRecord files: length, masked CRC-32C of the length, data, masked CRC-32C of the data.

Format and texts: TensorFlow's `core/lib/io/record_reader.cc`. Its own reader can't be had without
importing TensorFlow.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import google_crc32c

from ..errors import Code, ServingError

_HEADER = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")


def read(path: Path) -> Iterator[bytes]:
    """Yield the records of a file.

    Raises:
        ServingError: DATA_LOSS, the file is cut off, damaged, or no TFRecord file.
    """
    with path.open("rb") as file:
        offset = 0
        while header := file.read(_HEADER.size):
            if len(header) < _HEADER.size:
                raise _loss("truncated", offset)
            length, checksum = _HEADER.unpack(header)
            if masked_crc32c(header[:8]) != checksum:
                raise _loss("corrupted", offset)
            # Not `file.read(length + 4)` at once: a damaged length must not claim all memory.
            if length > path.stat().st_size - offset:
                raise _loss("truncated", offset)
            data, footer = file.read(length), file.read(_CHECKSUM.size)
            if len(data) < length or len(footer) < _CHECKSUM.size:
                raise _loss("truncated", offset)
            if masked_crc32c(data) != _CHECKSUM.unpack(footer)[0]:
                raise _loss("corrupted", offset)
            offset += _HEADER.size + length + _CHECKSUM.size
            yield data


def masked_crc32c(data: bytes) -> int:
    """Return the checksum as TFRecord files hold it."""
    checksum: int = google_crc32c.value(data)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _loss(what: str, offset: int) -> ServingError:
    return ServingError(Code.DATA_LOSS, f"{what} record at {offset}")
