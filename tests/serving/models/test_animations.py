"""Which graphs must not get animated WebP files, and how these are found."""

from __future__ import annotations

import numpy as np
import pytest
from tensorflow.core.framework import graph_pb2

from serving.errors import InvalidArgument
from serving.models import animations

ANIMATED, ALPHA = 0x02, 0x10


def webp(flags: int) -> bytes:
    return b"RIFF\x10\0\0\0WEBPVP8X\x0a\0\0\0" + bytes([flags]) + bytes(40)


@pytest.mark.parametrize(
    ("operation", "channels", "expected"),
    [
        ("DecodeImage", 0, True),
        ("DecodePng", 0, True),
        ("DecodeWebP", None, True),
        ("DecodeImage", 3, False),
        ("DecodeGif", None, False),
        ("StringLength", None, False),
    ],
)
@pytest.mark.parametrize("in_function", [False, True])
def test_graphs_that_decode_as_the_file_is(
    operation: str, channels: int | None, expected: bool, in_function: bool
) -> None:
    graph = graph_pb2.GraphDef()
    node = graph.library.function.add().node_def.add() if in_function else graph.node.add()
    node.op = operation
    if channels is not None:
        node.attr["channels"].i = channels
    assert animations.write_past_memory(graph) == expected


@pytest.mark.parametrize("before", [0, 7, 2**20 - 20, 2**20 - 12, 2**20 - 8, 2**20, 3 * 2**20 + 5])
def test_an_animation_is_found_anywhere(before: int) -> None:
    for data in (bytes(before) + webp(ANIMATED), b"WEBPVP8X" + bytes(before) + webp(ANIMATED)):
        with pytest.raises(InvalidArgument, match="Input 'x' has an animated WebP file"):
            animations.refuse({"n": np.zeros(3), "x": np.array([b"", data], object)})


def test_one_for_all_of_a_shape_is_looked_at_once() -> None:
    same = np.broadcast_to(np.array(webp(ANIMATED), object), (10_000, 10_000))
    with pytest.raises(InvalidArgument):
        animations.refuse({"x": same})
    animations.refuse({"x": np.broadcast_to(np.array(webp(0), object), (10_000, 10_000))})


def test_other_files_pass() -> None:
    whole = webp(ANIMATED)
    files = [webp(0), webp(ANIMATED | ALPHA), b"", *(whole[:end] for end in range(21))]
    animations.refuse({"x": np.array(files, object), "empty": np.array([], object)})
