"""Which way up a photo is: cameras store it as the sensor lay, and say how to turn it.

Exif 2.32, 4.6.4: a TIFF file whose first directory has the tag 0x0112, a number from 1 to 8.
"""

from training.apart import apart
from training.formats.content import BIG, LITTLE, numbers, text
from training.quiet_tensorflow import tf

NONE = -1
"""Where Exif begins in a file that has none."""
_UPRIGHT = 1
_TAG = 0x0112
_ENTRY = 6
"""Of a directory, in 16-bit words: tag, type, two of the count, two of the value."""
_MOST_ENTRIES = 64
_MOST_BYTES = 1 << 16


def orientation(data: "tf.Tensor", at: "tf.Tensor") -> "tf.Tensor":
    """Return the orientation that the TIFF file at a place of a file says: int32, 1 to 8."""
    return tf.cond(at == NONE, lambda: _UPRIGHT, lambda: _orientation(data, at))


@apart
def _orientation(data: "tf.Tensor", at: "tf.Tensor") -> "tf.Tensor":
    tiff = text(data, at, _MOST_BYTES)
    little = tf.strings.substr(tiff, 0, 1) == "I"
    found = tf.where(little, _read(tiff, LITTLE), _read(tiff, BIG))
    return tf.where((found >= 1) & (found <= 8), found, _UPRIGHT)


def _read(tiff: "tf.Tensor", order: str) -> "tf.Tensor":
    directory = numbers(tiff, 4, order, at=(0, 4))["at"]
    count = numbers(tiff, directory, order, count=(0, 2))["count"]
    size = 2 * _ENTRY * _MOST_ENTRIES
    words = tf.io.decode_raw(
        text(tiff, directory + 2, size), tf.uint16, order == LITTLE, fixed_length=size
    )
    entries = tf.cast(tf.reshape(words, [_MOST_ENTRIES, _ENTRY]), tf.int32)
    is_it = (entries[:, 0] == _TAG) & (tf.range(_MOST_ENTRIES) < count)
    return tf.reduce_max(tf.where(is_it, entries[:, 4], 0))


def upright(picture: "tf.Tensor", turned: "tf.Tensor") -> "tf.Tensor":
    """Return a picture as it was seen: uint8 [h, w, c] -> [h, w, c] or [w, h, c]."""
    channels = picture.shape[-1]
    # In its own order it is not copied.
    placed = tf.transpose(picture, tf.where(turned >= 5, [1, 0, 2], [0, 1, 2]))
    upside_down = tf.reduce_any(turned == [3, 4, 7, 8])
    mirrored = tf.reduce_any(turned == [2, 3, 6, 7])
    seen = tf.raw_ops.Reverse(tensor=placed, dims=tf.stack([upside_down, mirrored, False]))
    return tf.ensure_shape(seen, [None, None, channels])
