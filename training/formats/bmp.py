"""BMP, not compressed: of 1, 4 and 8 bits with a palette, of 24 and 32 bits.

TensorFlow's own operation takes numbers of a palette for brightness, and no 1 or 4 bits. The layout
is Microsoft's BITMAPINFOHEADER.
"""

from training.apart import apart
from training.formats.colours import in_channels
from training.formats.content import LITTLE, is_one_of, numbers, text
from training.formats.exif import NONE
from training.formats.refusal import DAMAGED, refuse_if, within_memory
from training.quiet_tensorflow import tf

BEGINNING = b"BM"
_FILE_HEADER = 14
_OLD_HEADER = 12
_MASKS = 3
"""How 32 bits may be packed, in the usual order nevertheless; 0 is as they are."""


@apart
def decode(
    data: "tf.Tensor", name: "tf.Tensor | str", channels: int
) -> "tuple[tf.Tensor, tf.Tensor]":
    """Return the picture, uint8 [h, w, channels], and that it has no Exif."""
    header = numbers(
        data,
        0,
        LITTLE,
        pixels=(10, 4),
        size=(14, 4),
        width=(18, 4),
        height=(22, 4),
        bits=(28, 2),
        packing=(30, 4),
    )
    width, bits, rows = header["width"], header["bits"], tf.abs(header["height"])
    packed = header["packing"]
    unknown = refuse_if(
        (header["size"] <= _OLD_HEADER)
        | ~is_one_of(bits, 1, 4, 8, 24, 32)
        | ((packed != 0) & ((packed != _MASKS) | (bits != 32))),
        name,
        "it is a BMP file of a rare kind. Save it as PNG",
    )

    def decoded() -> "tf.Tensor":
        stride = (width * bits + 31) // 32 * 4
        pixels = text(data, header["pixels"], stride * rows)
        short = refuse_if(tf.strings.length(pixels) < stride * rows, name, DAMAGED)
        with tf.control_dependencies([short]):
            lines = tf.reshape(tf.io.decode_raw(pixels, tf.uint8), [rows, stride])
        colours = tf.cond(
            bits <= 8,
            lambda: _by_number(data, header["size"], bits, lines)[:, :width],
            lambda: tf.reshape(lines[:, : width * (bits // 8)], [rows, width, bits // 8])[..., :3],
        )
        # Blue, green, red; the last line first, unless the height is negative.
        order = tf.stack([header["height"] > 0, False, True])
        seen = tf.raw_ops.Reverse(tensor=colours, dims=order)
        return in_channels(tf.ensure_shape(seen, [None, None, 3]), channels)

    with tf.control_dependencies([unknown]):
        picture = within_memory(decoded, name, width, rows, 4)
    return picture, tf.constant(NONE)


def _by_number(
    data: "tf.Tensor", header: "tf.Tensor", bits: "tf.Tensor", lines: "tf.Tensor"
) -> "tf.Tensor":
    """Return the colours of pixels that are numbers of a palette: uint8 [h, w', 3]."""
    size = 4 * 256
    entries = tf.io.decode_raw(text(data, _FILE_HEADER + header, size), tf.uint8, fixed_length=size)
    palette = tf.reshape(entries, [256, 4])[:, :3]
    # The first pixel of a byte has its highest bits.
    shifts = tf.cast(tf.range(8 - bits, -1, -bits), tf.uint8)
    mask = tf.cast(tf.bitwise.left_shift(1, bits) - 1, tf.uint8)
    found = tf.bitwise.right_shift(lines[:, :, None], shifts) & mask
    return tf.gather(palette, tf.cast(tf.reshape(found, [tf.shape(lines)[0], -1]), tf.int32))
