"""Requests made one run of the model: checked, put together, filled up.

Follows TensorFlow Serving's `batching/batching_session.cc`, with the texts of what can't be merged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import FailedPrecondition, InvalidArgument

Parts = dict[str, list[np.ndarray]]
"""Input to the arrays which, one below the other, are its value."""


def count_rows(inputs: Mapping[str, np.ndarray]) -> int:
    """Return the size of axis 0 that all inputs of a request share."""
    sizes = set()
    for array in inputs.values():
        if not array.ndim:
            raise InvalidArgument("Batching Run() input tensors must have at least one dimension")
        sizes.add(len(array))
    if not sizes:
        raise InvalidArgument("Batching Run() must have at least one input tensor")
    if len(sizes) > 1:
        raise InvalidArgument("Batching Run() input tensors must have equal 0th-dimension size")
    return sizes.pop()


def merge(requests: Sequence[Mapping[str, np.ndarray]], more: int, *, pad: bool) -> Parts:
    """Return each input's arrays in order, with `more` copies of a row at the end."""
    merged: Parts = {}
    for name, first in requests[0].items():
        parts = [request[name] for request in requests]
        for part in parts:
            if part.dtype != first.dtype:
                raise InvalidArgument(
                    "Cannot concatenate tensors that have different data types. "
                    f"Input '{name}' of one batch came as {first.dtype} and as {part.dtype}."
                )
        if any(part.shape[1:] != first.shape[1:] for part in parts):
            if not pad or any(part.ndim != first.ndim for part in parts):
                raise FailedPrecondition(
                    f"Tensors with name '{name}' from different tasks have different shapes and "
                    "padding is turned off. Set pad_variable_length_inputs to true, or ensure that "
                    "all tensors with the same name have equal dimensions starting with the first "
                    "dim."
                )
            inner = np.max([part.shape[1:] for part in parts], axis=0)
            parts = [_padded(part, inner) for part in parts]
        if more:
            row = next(part[:1] for part in reversed(parts) if len(part))
            parts += [row] * more
        merged[name] = parts
    return merged


def apart(requests: Sequence[Mapping[str, np.ndarray]]) -> list[list[int]]:
    """Return how several requests that failed together may succeed: positions, in groups.

    Those that can be merged stay together. If that is all of them, there are two halves: one bad
    request among many is found in few runs.
    """
    alike: dict[object, list[int]] = {}
    for position, inputs in enumerate(requests):
        key = tuple((name, array.dtype, array.shape[1:]) for name, array in inputs.items())
        alike.setdefault(key, []).append(position)
    if len(alike) > 1:
        return list(alike.values())
    half, positions = len(requests) // 2, list(range(len(requests)))
    return [positions[:half], positions[half:]]


def _padded(array: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Lengthen all axes but the first; the value put in is the array's own first element."""
    if array.shape[1:] == tuple(inner):
        return array
    if array.size:
        filler = array.flat[0]
    else:
        filler = b"" if array.dtype == object else np.zeros(1, array.dtype)[0]
    padded = np.full((len(array), *inner), filler, array.dtype)
    padded[tuple(slice(size) for size in array.shape)] = array
    return padded
