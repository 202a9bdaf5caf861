"""Rows made from what a signature says of its inputs: names, data types and shapes."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2

from ..data_types import NUMPY_TYPES, STRING

TEXT = b"a made-up text"
"""An error that quotes it is about the row, not about the model."""

_PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAAAAABWESUoAAAAKElEQVR42mP8z4AfMDHQXAELCo+RgYGB"
    "4T+93TCqYFTBYFPAOAjyJgC1rwM/52AcUgAAAABJRU5ErkJggg=="
)
"""A stroke on paper, 32 x 32 pixels, as PNG."""
_PICTURE_SUFFIX = "_bytes"
"""An input of texts with such a name takes pictures (docs/contracts.md)."""

_SIDES = (1, 32, 224)
"""Of what may have any size: one after the other, until the model takes it. Networks for pictures
need some room, and some say so by an error."""

_MOST_VALUES = 2**22
"""Of one input."""


def rows(inputs: Mapping[str, meta_graph_pb2.TensorInfo]) -> Iterator[dict[str, np.ndarray]]:
    """Yield one row after the other, each in another form that the signature may mean.

    Numbers are 0, texts are a text or a picture or, in a later row, empty. All inputs have the same
    number of rows. Sizes that the signature leaves open are the same for all inputs.

    Args:
        inputs: alias to what the signature says of it; dense, and of types that numpy has.
    """
    is_open = any(
        info.tensor_shape.unknown_rank or any(dim.size < 0 for dim in info.tensor_shape.dim[1:])
        for info in inputs.values()
    )
    has_texts = any(info.dtype == STRING for info in inputs.values())
    for side in _SIDES if is_open else _SIDES[:1]:
        for is_empty in (False, True) if has_texts else (False,):
            shapes = {alias: _shape(info, side) for alias, info in inputs.items()}
            if all(math.prod(shape) <= _MOST_VALUES or side == 1 for shape in shapes.values()):
                yield {
                    alias: _filled(alias, info, shapes[alias], is_empty)
                    for alias, info in inputs.items()
                }


def _shape(info: meta_graph_pb2.TensorInfo, side: int) -> tuple[int, ...]:
    if info.tensor_shape.unknown_rank:
        return (1,) if side == 1 else (1, side)
    sizes = [dim.size for dim in info.tensor_shape.dim]
    return tuple(size if size >= 0 else 1 if axis == 0 else side for axis, size in enumerate(sizes))


def _filled(
    alias: str, info: meta_graph_pb2.TensorInfo, shape: tuple[int, ...], is_empty: bool
) -> np.ndarray:
    if info.dtype != STRING:
        return np.zeros(shape, NUMPY_TYPES[info.dtype])
    text = b"" if is_empty else _PICTURE if alias.endswith(_PICTURE_SUFFIX) else TEXT
    return np.full(shape, text, object)
