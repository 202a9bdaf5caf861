"""WebP, with transparency, turned, not animated (RFC 9649). Older TensorFlow can't decode it."""

from training.apart import apart
from training.formats.colours import in_channels, on_paper
from training.formats.content import LITTLE, MOST_PARTS, code, numbers
from training.formats.exif import NONE
from training.formats.refusal import refuse_if, within_memory
from training.quiet_tensorflow import tf

BEGINNING = b"RIFF"
_FIRST_CHUNK = 12
_ANIMATED = 0x02


@apart
def decode(
    data: "tf.Tensor", name: "tf.Tensor | str", channels: int
) -> "tuple[tf.Tensor, tf.Tensor]":
    """Return the picture, uint8 [h, w, channels] on paper, and where Exif begins."""
    header = numbers(
        data,
        0,
        LITTLE,
        kind=(12, 4),
        flags=(20, 1),
        bits=(21, 4),
        lossy_width=(26, 2),
        lossy_height=(28, 2),
        canvas_width=(24, 3),
        canvas_height=(27, 3),
    )
    is_extended = header["kind"] == code(b"VP8X", LITTLE)
    is_lossless = header["kind"] == code(b"VP8L", LITTLE)
    # Each of the three kinds has its size elsewhere.
    lossy = tf.stack([header["lossy_width"], header["lossy_height"]]) & 0x3FFF
    lossless = (tf.bitwise.right_shift(header["bits"], [0, 14]) & 0x3FFF) + 1
    extended = tf.stack([header["canvas_width"], header["canvas_height"]]) + 1
    size = tf.where(is_extended, extended, tf.where(is_lossless, lossless, lossy))

    def decoded() -> "tf.Tensor":
        # It has as many channels as the file: asked for others, the operation fails.
        found = tf.io.decode_image(data, expand_animations=False)
        missing = 4 - tf.shape(found)[2]
        whole = tf.pad(found, [[0, 0], [0, 0], [0, missing]], constant_values=255)
        coloured = tf.ensure_shape(whole[:, :, :3], [None, None, 3])
        return on_paper(in_channels(coloured, channels), whole[:, :, 3:])

    # TensorFlow 2.21 writes past the end of its memory for an animation without transparency.
    animated = refuse_if(
        is_extended & (header["flags"] & _ANIMATED > 0),
        name,
        "it is an animated WebP file. Save one picture of it",
    )
    with tf.control_dependencies([animated]):
        picture = within_memory(decoded, name, size[0], size[1], 4)
    return picture, _exif(data)


def _exif(data: "tf.Tensor") -> "tf.Tensor":
    def look(at: "tf.Tensor", _: "tf.Tensor", exif: "tf.Tensor") -> "tuple[tf.Tensor, ...]":
        chunk = numbers(data, at, LITTLE, kind=(0, 4), length=(4, 4), inside=(8, 4))
        is_exif = chunk["kind"] == code(b"EXIF", LITTLE)
        # Some programs put JPEG's beginning before it.
        named = tf.where(chunk["inside"] == code(b"Exif", LITTLE), 6, 0)
        # Odd ones are filled up by a byte.
        length = tf.maximum(chunk["length"] + (chunk["length"] & 1), 0)
        return (
            at + 8 + length,
            ~is_exif & (chunk["kind"] != 0),
            tf.where(is_exif, at + 8 + named, exif),
        )

    return tf.while_loop(
        lambda _at, more, *_: more,
        look,
        (tf.constant(_FIRST_CHUNK), tf.constant(True), tf.constant(NONE)),
        maximum_iterations=MOST_PARTS,
    )[2]
