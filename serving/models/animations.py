"""Animated WebP files at which TensorFlow would write past its memory: refused before they run.

TensorFlow 2.21 makes room for 3 values per pixel where an animation has no alpha, and writes 4. The
process dies at that, at once or later, with all other requests in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from tensorflow.core.framework import graph_pb2

from ..errors import InvalidArgument

_DECODERS = frozenset(
    f"Decode{name}" for name in ("Image", "WebP", "Png", "Jpeg", "AndCropJpeg", "Bmp")
)
"""Each of them reads whatever picture it gets. `DecodeGif` alone refuses such files."""

_NAME = b"WEBPVP8X"
_NAME_PLACE, _FLAGS_PLACE = 8, 20
"""In a file: RFC 9649, 2.7."""
_ANIMATED, _ALPHA = 0x02, 0x10

_STRETCH = 2**20
"""Bytes that are searched in one go, for which Python holds up all other threads: 1 ms."""


def write_past_memory(graph: graph_pb2.GraphDef) -> bool:
    """Say whether a graph decodes pictures so that an animation may end the process."""
    functions = (function.node_def for function in graph.library.function)
    return any(
        # Asked for a number of channels, the decoders refuse such a file.
        node.op in _DECODERS and node.attr["channels"].i == 0
        for nodes in (graph.node, *functions)
        for node in nodes
    )


def refuse(inputs: Mapping[str, np.ndarray]) -> None:
    """Refuse inputs with such an animation: a file, or a `tf.Example` with one in it.

    Raises:
        InvalidArgument: with words for people.
    """
    for alias, array in inputs.items():
        if array.dtype == object and any(map(_has_animation, _texts(array))):
            raise InvalidArgument(
                f"Input '{alias}' has an animated WebP file without transparency, which TensorFlow "
                "can't decode. Send a still picture, or another format."
            )


def _texts(array: np.ndarray) -> Iterable[bytes]:
    if array.size and not any(array.strides):
        # One for all of the shape.
        return [next(array.flat)]
    return array.flat


def _has_animation(data: bytes) -> bool:
    for begin in range(0, len(data), _STRETCH):
        end = begin + _STRETCH + len(_NAME) - 1
        place = data.find(_NAME, begin, end)
        while place >= 0:
            at = place - _NAME_PLACE + _FLAGS_PLACE
            flags = data[at : at + 1]
            if flags and flags[0] & _ANIMATED and not flags[0] & _ALPHA:
                return True
            place = data.find(_NAME, place + 1, end)
    return False
