"""PNG: of 8 and 16 bits, with a palette, interlaced, transparent (W3C, PNG Specification)."""

from training.apart import apart
from training.formats.colours import on_paper
from training.formats.content import BIG, MOST_PARTS, code, is_one_of, numbers
from training.formats.exif import NONE
from training.formats.refusal import within_memory
from training.quiet_tensorflow import tf

BEGINNING = b"\x89PNG"
_SIGNATURE = 8
"""Bytes before the first chunk."""
_WITH_ALPHA = (4, 6)


@apart
def decode(
    data: "tf.Tensor", name: "tf.Tensor | str", channels: int
) -> "tuple[tf.Tensor, tf.Tensor]":
    """Return the picture, uint8 [h, w, channels] on paper, and where Exif begins."""
    header = numbers(data, 0, BIG, width=(16, 4), height=(20, 4), colours=(25, 1))
    transparent, exif = _chunks(data)
    has_alpha = transparent | is_one_of(header["colours"], *_WITH_ALPHA)

    def with_alpha() -> "tf.Tensor":
        return on_paper(tf.io.decode_png(data, channels), tf.io.decode_png(data, 4)[:, :, 3:])

    picture = within_memory(
        lambda: tf.cond(has_alpha, with_alpha, lambda: tf.io.decode_png(data, channels)),
        name,
        header["width"],
        header["height"],
        tf.where(has_alpha, 4, channels),
    )
    return picture, exif


def _chunks(data: "tf.Tensor") -> "tuple[tf.Tensor, tf.Tensor]":
    """Return whether a palette or one colour is transparent, and where Exif begins.

    Both stand before the pixels.
    """

    def look(
        at: "tf.Tensor", _: "tf.Tensor", transparent: "tf.Tensor", exif: "tf.Tensor"
    ) -> "tuple[tf.Tensor, ...]":
        chunk = numbers(data, at, BIG, length=(0, 4), kind=(4, 4))
        length, kind = chunk["length"], chunk["kind"]
        return (
            at + 12 + tf.maximum(length, 0),
            (length >= 0) & ~is_one_of(kind, code(b"IDAT"), code(b"IEND"), 0),
            transparent | (kind == code(b"tRNS")),
            tf.where(kind == code(b"eXIf"), at + 8, exif),
        )

    _, _, transparent, exif = tf.while_loop(
        lambda _at, more, *_: more,
        look,
        (tf.constant(_SIGNATURE), tf.constant(True), tf.constant(False), tf.constant(NONE)),
        maximum_iterations=MOST_PARTS,
    )
    return transparent, exif
