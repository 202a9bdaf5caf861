"""JPEG: grey, coloured, for print (CMYK), progressive, turned (ITU T.81, Annex B)."""

from collections.abc import Callable

from training.apart import apart
from training.formats.colours import in_channels
from training.formats.content import BIG, MOST_PARTS, code, is_one_of, numbers
from training.formats.exif import NONE
from training.formats.refusal import DAMAGED, refuse_if, within_memory
from training.quiet_tensorflow import tf

BEGINNING = b"\xff\xd8\xff"

_MOST_PIXELS = 25_000_000
"""Of a photo: a larger one is decoded to a half or an eighth of its sides."""
_RATIOS = (1, 2, 8)
_PROGRESSIVE_BYTES = 3
"""That libjpeg keeps for each pixel, at least, until it has read the last scan of such a file."""

_FRAMES = (*range(0xFFC0, 0xFFC4), *range(0xFFC5, 0xFFC8), *range(0xFFC9, 0xFFCC))
_PROGRESSIVE = (0xFFC2, 0xFFC6, 0xFFCA)
_SCAN, _EXIF, _FILLING = 0xFFDA, 0xFFE1, 0xFFFF
_EXIF_BYTES = 10
"""From the marker to Exif: the marker, a length and the name Exif, filled up to 6 bytes."""


@apart
def decode(
    data: "tf.Tensor", name: "tf.Tensor | str", channels: int
) -> "tuple[tf.Tensor, tf.Tensor]":
    """Return the picture, uint8 [h, w, channels], perhaps smaller, and where Exif begins."""
    frame, exif = _segments(data)
    header = numbers(
        data, frame, BIG, marker=(0, 2), height=(5, 2), width=(7, 2), components=(9, 1)
    )
    # In floats, which don't overflow.
    pixels = tf.cast(header["width"], tf.float32) * tf.cast(header["height"], tf.float32)
    too_many = pixels > [float(_MOST_PIXELS * ratio**2) for ratio in _RATIOS[:-1]]
    smaller = tf.reduce_sum(tf.cast(too_many, tf.int32))
    for_print = header["components"] == 4

    def decoded(components: int, ratio: int) -> "Callable[[], tf.Tensor]":
        return lambda: in_channels(
            tf.io.decode_jpeg(data, components, ratio, dct_method="INTEGER_ACCURATE"), channels
        )

    def as_grey(ratio: int) -> "Callable[[], tf.Tensor]":
        return lambda: tf.io.decode_jpeg(data, 1, ratio, dct_method="INTEGER_ACCURATE")

    # libjpeg makes grey at once, but of colours for print TensorFlow has only RGB.
    branches = [as_grey(ratio) for ratio in _RATIOS] if channels == 1 else []
    branches += [decoded(3, ratio) for ratio in _RATIOS]
    if channels == 1:
        smaller += tf.where(for_print, len(_RATIOS), 0)
    broken = refuse_if(frame == 0, name, DAMAGED)
    with tf.control_dependencies([broken]):
        picture = within_memory(
            lambda: tf.switch_case(smaller, branches),
            name,
            header["width"],
            header["height"],
            # Of all others, at an eighth, any size that a JPEG can have.
            tf.where(is_one_of(header["marker"], *_PROGRESSIVE), _PROGRESSIVE_BYTES, 0),
        )
    return picture, exif


def _segments(data: "tf.Tensor") -> "tuple[tf.Tensor, tf.Tensor]":
    """Return where the frame's header stands (0: nowhere), and where Exif begins."""

    def look(
        at: "tf.Tensor", _: "tf.Tensor", frame: "tf.Tensor", exif: "tf.Tensor"
    ) -> "tuple[tf.Tensor, ...]":
        segment = numbers(data, at, BIG, marker=(0, 2), length=(2, 2), name=(4, 4))
        marker, length = segment["marker"], segment["length"]
        is_frame = is_one_of(marker, *_FRAMES)
        is_filling = marker == _FILLING
        is_exif = (marker == _EXIF) & (segment["name"] == code(b"Exif")) & (exif == NONE)
        ends = is_frame | (marker < 0xFF00) | (marker == _SCAN) | ((length < 2) & ~is_filling)
        return (
            at + tf.where(is_filling, 1, 2 + length),
            ~ends,
            tf.where(is_frame, at, frame),
            tf.where(is_exif, at + _EXIF_BYTES, exif),
        )

    _, _, frame, exif = tf.while_loop(
        lambda _at, more, *_: more,
        look,
        (tf.constant(2), tf.constant(True), tf.constant(0), tf.constant(NONE)),
        maximum_iterations=MOST_PARTS,
    )
    return frame, exif
