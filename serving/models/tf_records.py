"""TFRecord files: length, masked CRC-32C of the length, data, masked CRC-32C of the data.

Format and texts: TensorFlow's `core/lib/io/record_reader.cc`. Its own reader can't be had without
importing TensorFlow.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import Code, ServingError

_HEADER = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")
_LANE_BYTES = 256
_PLAIN_BYTES = 8192
"""Up to here the loop over bytes is as quick as lanes, which have to be joined."""


def _table() -> np.ndarray:
    values = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = np.where(values & 1, values >> 1 ^ np.uint32(0x82F63B78), values >> 1)
    return values


_TABLE = _table()
_PLAIN_TABLE: list[int] = _TABLE.tolist()


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
    checksum = crc32c(data)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of data."""
    state = 0xFFFFFFFF
    if len(data) > _PLAIN_BYTES:
        # A CRC is linear: lanes of equal length are computed side by side, each from state 0, and
        # joined by taking the state before a lane past as many zero bytes as the lane has.
        count = min(4096, len(data) // _LANE_BYTES)
        length = len(data) // count
        lanes = np.frombuffer(data, np.uint8, count * length).reshape(count, length)
        states = np.zeros(count, np.uint32)
        zeros = np.concatenate([np.arange(256, dtype=np.uint32) << (8 * k) for k in range(4)])
        for column in np.ascontiguousarray(lanes.T):
            states = _TABLE[(states ^ column) & 0xFF] ^ states >> 8
            zeros = _TABLE[zeros & 0xFF] ^ zeros >> 8
        past: list[int] = zeros.tolist()
        for lane in states.tolist():
            state = (
                past[state & 0xFF]
                ^ past[256 + (state >> 8 & 0xFF)]
                ^ past[512 + (state >> 16 & 0xFF)]
                ^ past[768 + (state >> 24)]
                ^ lane
            )
        data = data[count * length :]
    for byte in data:
        state = _PLAIN_TABLE[(state ^ byte) & 0xFF] ^ state >> 8
    return state ^ 0xFFFFFFFF


def _loss(what: str, offset: int) -> ServingError:
    return ServingError(Code.DATA_LOSS, f"{what} record at {offset}")
