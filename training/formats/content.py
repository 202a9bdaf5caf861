"""Numbers at places of a file, in few operations: each is traced and saved with every model."""

import numpy as np

from training.quiet_tensorflow import tf

MOST_PARTS = 1000
"""Chunks or segments of a file that are looked at. Real ones have some dozens before the pixels."""

LITTLE, BIG = "little", "big"


def numbers(
    data: "tf.Tensor", at: "tf.Tensor | int", order: str, /, **places: tuple[int, int]
) -> "dict[str, tf.Tensor]":
    """Return numbers of a file by name, int32 scalars; beyond its end are zeros.

    Args:
        at: where in the file the places are counted from.
        order: LITTLE or BIG.
        places: name -> offset and size; of a size of 4 the number is signed.
    """
    length = max(offset + size for offset, size in places.values())
    part = tf.strings.substr(data, tf.clip_by_value(at, 0, tf.strings.length(data)), length)
    found = tf.io.decode_raw(part, tf.uint8, fixed_length=length)
    # Each row is what the bytes count for in one number: all are read by two operations.
    weights = np.zeros([len(places), length], np.int64)
    for row, (offset, size) in zip(weights, places.values(), strict=True):
        powers = 256 ** np.arange(size)
        row[offset : offset + size] = powers if order == LITTLE else powers[::-1]
    wrapped = weights.astype(np.uint32).astype(np.int32)
    sums = tf.reduce_sum(tf.cast(found, tf.int32) * wrapped, axis=1)
    return dict(zip(places, tf.unstack(sums), strict=True))


def code(name: bytes, order: str = BIG) -> int:
    """Return four letters as the number that `numbers` reads where they stand."""
    return int.from_bytes(name, "little" if order == LITTLE else "big", signed=True)


def text(data: "tf.Tensor", at: "tf.Tensor | int", size: "tf.Tensor | int") -> "tf.Tensor":
    """Return at most `size` bytes of a file, fewer at its end."""
    return tf.strings.substr(data, tf.clip_by_value(at, 0, tf.strings.length(data)), size)


def is_one_of(value: "tf.Tensor", *numbers: int) -> "tf.Tensor":
    """Say whether a scalar is one of some numbers."""
    return tf.reduce_any(value == list(numbers))
