"""Protobuf's varints to numpy and back, many at once: protobuf's own code makes each an object.

Work is done in pieces, which stay in the processor's cache. numpy lets other threads run Python
meanwhile; protobuf's parser and serialiser hold them up for all of a message.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_LONGEST = 10
"""Bytes of a number of 64 bits, seven bits a byte; negative ones have all of them."""

_PIECE = 2**16


def decode(data: np.ndarray, dtype: np.dtype, most: int) -> np.ndarray:
    """Return the numbers in bytes that hold varints one after the other.

    Args:
        data: uint8.
        dtype: of the result; what doesn't fit loses its upper bits, as in protobuf.
        most: so many are wanted; what follows them is not looked at.

    Raises:
        ValueError: the last one has no end, or one is too long.
    """
    parts, position, count = [np.empty(0, dtype)], 0, 0
    while position < len(data) and count < most:
        piece = data[position : position + _PIECE]
        ends = np.flatnonzero(piece < 128)
        if not len(ends):
            raise ValueError("a varint without an end")
        starts = np.concatenate([[0], ends[:-1] + 1])
        values = _decode(piece, starts, ends - starts + 1).view(np.int64).astype(dtype)
        parts.append(values[: most - count])
        count += len(values)
        position += int(ends[-1]) + 1
    return np.concatenate(parts)


def _decode(data: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    longest = int(lengths.max())
    if longest == 1:
        return data[: len(starts)].astype(np.uint64)
    if longest > _LONGEST:
        raise ValueError("a varint of more than 64 bits")
    values = np.zeros(len(starts), np.uint64)
    for place in range(longest):
        shift = np.uint64(7 * place)
        if place < int(lengths.min()):
            values |= (data[starts + place] & 127).astype(np.uint64) << shift
        else:
            longer = lengths > place
            values[longer] |= (data[starts[longer] + place] & 127).astype(np.uint64) << shift
    return values


def encode(values: np.ndarray) -> Iterator[bytes]:
    """Yield the varints of integers or booleans, in pieces; they are written as 64 bits."""
    flat = values.reshape(-1)
    wide = np.uint64 if flat.dtype.kind in "bu" else np.int64
    for start in range(0, len(flat), _PIECE):
        yield _encode(flat[start : start + _PIECE].astype(wide).view(np.uint64))


def _encode(values: np.ndarray) -> bytes:
    largest = int(values.max())
    if largest < 128:
        return values.astype(np.uint8).tobytes()
    longest = -(-largest.bit_length() // 7)
    lengths = np.ones(len(values), np.int64)
    for place in range(1, longest):
        lengths += values >= np.uint64(1 << 7 * place)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    data = np.empty(int(ends[-1]), np.uint8)
    for place in range(longest):
        longer = lengths > place
        seven = (values[longer] >> np.uint64(7 * place)).astype(np.uint8) & np.uint8(127)
        more = (lengths[longer] > place + 1).astype(np.uint8) << np.uint8(7)
        data[starts[longer] + place] = seven | more
    return data.tobytes()
