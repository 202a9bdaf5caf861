"""What a request's inputs take once the model has them, also where only a header says so yet."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from ..wire.tensor_proto import STRING_BYTES

_LONGEST_HEADER = 2**20
"""Bytes in which a JPEG may announce its size: thumbnails and colour profiles come first."""

_BYTES_PER_VALUE = 5
"""A decoded picture as bytes, and once more as float32: what most graphs make of it."""

_MOST_PIXELS = 25_000_000
_RATIOS = (1, 2, 8)
"""How graphs of `training.pictures` decode JPEGs: as many pixels as they are, but of a larger one a
half of its sides, or an eighth."""

_PROGRESSIVE = (0xC2, 0xC6, 0xCA)
_PROGRESSIVE_BYTES = 3
"""For each pixel of such a JPEG, until its last part was read, however small it will be."""


def input_bytes(inputs: Mapping[str, np.ndarray], *, shrinks_jpeg: bool = False) -> int:
    """Return what inputs take in a model: arrays, texts, and the pictures that some texts are.

    Args:
        inputs: by alias.
        shrinks_jpeg: whether the model decodes large JPEGs smaller.
    """
    return text_bytes(inputs, shrinks_jpeg=shrinks_jpeg) + sum(
        int(array.size) * (STRING_BYTES if array.dtype == object else array.itemsize)
        for array in inputs.values()
    )


def text_bytes(inputs: Mapping[str, np.ndarray], *, shrinks_jpeg: bool = False) -> int:
    """Return what the texts of strings among inputs take, and the pictures that some are."""
    return sum(_texts(array, shrinks_jpeg) for array in inputs.values() if array.dtype == object)


def _texts(array: np.ndarray, shrinks_jpeg: bool) -> int:
    if array.size and not any(array.strides):
        # One for all of the shape.
        first: bytes = next(array.flat)
        return int(array.size) * (len(first) + picture_bytes(first, shrinks_jpeg=shrinks_jpeg))
    texts: Iterable[bytes] = array.flat
    return sum(len(text) + picture_bytes(text, shrinks_jpeg=shrinks_jpeg) for text in texts)


def picture_bytes(data: bytes, *, shrinks_jpeg: bool = False) -> int:
    """Return the memory that a picture file takes once decoded, by its header; no picture: 0."""
    if len(data) < 24:
        return 0
    start = data[:4]
    values: int
    if start == b"\x89PNG":
        width, height, depth, colour = struct.unpack(">IIBB", data[16:26].ljust(10, b"\0"))
        channels = {0: 1, 4: 2, 2: 3, 3: 3}.get(colour, 4)
        values = width * height * channels * (2 if depth == 16 else 1)
    elif start[:3] == b"\xff\xd8\xff":
        return _jpeg_bytes(data, shrinks_jpeg)
    elif start == b"GIF8":
        width, height = struct.unpack("<HH", data[6:10])
        values = width * height * 3 * max(1, data.count(b"\x21\xf9\x04"))
    elif start[:2] == b"BM" and data[14:18] == b"\x28\0\0\0":
        width, height = struct.unpack("<ii", data[18:26].ljust(8, b"\0"))
        values = abs(width * height) * 3
    elif start == b"RIFF" and data[8:12] == b"WEBP":
        values = _webp_pixels(data) * 4
    else:
        return 0
    return values * _BYTES_PER_VALUE


def _jpeg_bytes(data: bytes, shrinks: bool) -> int:
    """Return what the start of a frame announces: ITU-T T.81, B.2.2."""
    for code, segment in _jpeg_segments(data):
        # SOF0 to SOF15, without the tables DHT, JPG and DAC among them.
        if 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC) and len(segment) >= 6:
            _, height, width, components = struct.unpack(">BHHB", segment[:6])
            pixels = more = height * width
            if shrinks:
                steps = (_MOST_PIXELS * ratio**2 for ratio in _RATIOS[:-1])
                pixels //= _RATIOS[sum(pixels > step for step in steps)] ** 2
            more *= _PROGRESSIVE_BYTES if pixels < more and code in _PROGRESSIVE else 0
            # Most graphs ask for three channels, whatever the file has.
            return int(pixels * max(3, components) * _BYTES_PER_VALUE + more)
    return 0


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and content of each segment before the picture itself."""
    position = 2
    while position + 4 <= min(len(data), _LONGEST_HEADER) and data[position] == 0xFF:
        code = data[position + 1]
        if code == 0xFF:  # A byte to fill up with.
            position += 1
            continue
        if code == 0xDA:
            return
        size = int.from_bytes(data[position + 2 : position + 4], "big")
        yield code, data[position + 4 : position + 4 + min(size, 16)]
        position += 2 + size


def _webp_pixels(data: bytes) -> int:
    """Return width times height: RFC 9649, 2.5 to 2.7."""
    kind, head = data[12:16], data[20:30].ljust(10, b"\0")
    if kind == b"VP8X":
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (4, 7))
    elif kind == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (size & 0x3FFF for size in struct.unpack("<HH", head[6:10]))
    return width * height
