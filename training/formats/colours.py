"""Colours of decoded pictures, in 8 and 16 bits: floats of a phone's photo would take 600 MB."""

from training.quiet_tensorflow import tf

_LEAST_CONTRAST = 24
"""Of 255: what differs less from its background can't be seen."""


def in_channels(coloured: "tf.Tensor", channels: int) -> "tf.Tensor":
    """Return an RGB picture, uint8 [h, w, 3], with 3 channels or as grey [h, w, 1]."""
    if channels == 3:
        return coloured
    red, green, blue = tf.unstack(tf.cast(coloured, tf.uint16), 3, axis=-1)
    # The usual weights of luma, of 256. The sum fits in 16 bits, and grey stays what it was.
    grey = tf.bitwise.right_shift(77 * red + 150 * green + 29 * blue, tf.constant(8, tf.uint16))
    return tf.cast(grey, tf.uint8)[:, :, None]


def on_paper(coloured: "tf.Tensor", alpha: "tf.Tensor") -> "tf.Tensor":
    """Return a picture that is partly transparent on paper: uint8 [h, w, c], [h, w, 1].

    Paper is white. It is black for white ink on nothing, of which white paper would leave nothing.
    """
    eight = tf.constant(8, tf.uint16)
    product = tf.cast(255 - coloured, tf.uint16) * tf.cast(alpha, tf.uint16) + 128
    # Divided by 255, rounded.
    darker = tf.cast(
        tf.bitwise.right_shift(product + tf.bitwise.right_shift(product, eight), eight), tf.uint8
    )
    vanishes = tf.reduce_max(darker) < _LEAST_CONTRAST
    return tf.where(vanishes, alpha, tf.constant(255, tf.uint8)) - darker
