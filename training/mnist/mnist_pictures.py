"""Turns drawings, scans and photos of a digit into the kind of picture that MNIST consists of.

MNIST (http://yann.lecun.com/exdb/mnist/): white on black, the digit fitted into 20x20 pixels with
its proportions kept, and placed in 28x28 pixels with its centre of mass in the middle. A model
trained on it is much worse on digits of another size or place.

All of it are operations of the model's graph. A picture stays in 8 bits until the digit is cut out:
in floats a photo would take a hundred megabytes.
"""

from collections.abc import Callable

import numpy as np
from mnist_data import SIDE  # type: ignore[import-not-found]  # beside the boot file

from training.apart import apart
from training.pictures import decode_picture, each_picture, refuse_if
from training.quiet_tensorflow import tf, without_autograph

_DIGIT_SIDE = 20
_INK = 5
"""Paper, or noise, is what has less than one of so many parts of the strongest ink."""

_LEAST_CONTRAST = 24
"""Of 255: below it a picture shows nothing but its background."""

_UNEVEN, _DIMMEST = 8, 48
"""Of 255: differences of light between the edges of a photo of paper, and of the darkest edge."""
_PHOTO_SIDE = 1024
"""Pixels of the longer side of such a photo: it takes floats, and is blurred by nature."""

_SMALL_GREY = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x1c\0\0\0\x1c\x08\0"
"""How a PNG file of 28x28 grey pixels begins."""
_SECOND_PART = 37
"""Where the second part's name stands: IDAT if the file has pixels alone."""

_PLACES = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
_EDGE = np.concatenate([_PLACES[0], _PLACES[-1], _PLACES[:, 0], _PLACES[:, -1]])
"""Where the outermost of 28x28 pixels stand."""


@without_autograph
def read_digits(encoded: "tf.Tensor") -> "tf.Tensor":
    """Return picture files as MNIST would have them: string [n] -> float32 [n, 784], 0..1.

    A 28x28 picture with a black edge is taken to be one already and keeps its pixels. What shows
    no digit fails with INVALID_ARGUMENT and a text for people.
    """
    # MNIST's own go together; all others are decoded one by one.
    begins = tf.strings.substr(encoded, 0, len(_SMALL_GREY)) == _SMALL_GREY
    place = tf.minimum(_SECOND_PART, tf.strings.length(encoded))
    has_pixels_alone = tf.strings.substr(encoded, place, tf.fill(tf.shape(place), 4)) == "IDAT"
    small = tf.where(begins & has_pixels_alone)
    pictures = tf.map_fn(
        lambda one: tf.reshape(tf.io.decode_png(one, 1), [SIDE * SIDE]),
        tf.gather_nd(encoded, small),
        fn_output_signature=tf.TensorSpec([SIDE * SIDE], tf.uint8),
    )
    ready = tf.where(_is_ready(pictures, tf.gather(pictures, _EDGE, axis=1)))
    shape = tf.stack([tf.size(encoded, tf.int64), SIDE * SIDE])
    digits = tf.scatter_nd(
        tf.gather_nd(small, ready), _scaled(tf.gather_nd(pictures, ready)), shape
    )
    # What is ready shows something.
    others = tf.where(tf.reduce_max(digits, axis=1) == 0)
    found = each_picture(
        _read_digit, encoded, others[:, 0], tf.TensorSpec([SIDE * SIDE], tf.float32)
    )
    return tf.tensor_scatter_nd_update(digits, others, found)


def _is_ready(pixels: "tf.Tensor", edge: "tf.Tensor") -> "tf.Tensor":
    """Say of pictures whether they have a black edge and something on it: uint8 [..., pixels]."""
    black = tf.reduce_mean(tf.cast(edge == 0, tf.float32), axis=-1)
    return (black > 0.5) & (tf.reduce_max(pixels, axis=-1) >= _LEAST_CONTRAST)


def _sides(picture: "tf.Tensor") -> "list[tf.Tensor]":
    """Return the outermost pixels, above, below, left and right: [h, w] -> [w], [w], [h], [h]."""
    return [picture[0], picture[-1], picture[:, 0], picture[:, -1]]


def _median(values: "tf.Tensor") -> "tf.Tensor":
    return tf.raw_ops.NthElement(input=values, n=tf.size(values) // 2)


def _scaled(pixels: "tf.Tensor") -> "tf.Tensor":
    return tf.cast(pixels, tf.float32) / 255.0


def _read_digit(encoded: "tf.Tensor", name: "tf.Tensor") -> "tf.Tensor":
    """Return one picture file as float32 [784]."""
    grey = decode_picture(encoded, 1, name)[:, :, 0]
    pixels = tf.reshape(grey, [-1])
    ready = tf.reduce_all(tf.shape(grey) == SIDE) & _is_ready(pixels, tf.concat(_sides(grey), 0))
    return tf.cond(ready, lambda: _scaled(pixels), lambda: _prepared(grey, name))


def _prepared(grey: "tf.Tensor", name: "tf.Tensor") -> "tf.Tensor":
    grey = _in_even_light(grey)
    ink_of, strongest = _ink(grey)
    empty = refuse_if(
        strongest < _LEAST_CONTRAST, name, "it is empty: nothing stands out from its background"
    )
    with tf.control_dependencies([empty]):
        least = (strongest + _INK - 1) // _INK
    digit = _cut_out(grey, ink_of, tf.cast(least, tf.uint8))
    return tf.reshape(_centred(_fitted(digit)), [SIDE * SIDE])


def _in_even_light(grey: "tf.Tensor") -> "tf.Tensor":
    """Return a photo of paper as if the light came from everywhere: uint8 [h, w] -> [h', w'].

    Light falls from one side, mostly: it is taken to change evenly from edge to edge.
    """
    light = tf.cast(tf.stack([_median(side) for side in _sides(grey)]), tf.float32)
    darkest, lightest = tf.reduce_min(light), tf.reduce_max(light)
    uneven = (lightest - darkest >= _UNEVEN) & (darkest >= _DIMMEST)
    return tf.cond(uneven, lambda: _levelled(grey, light), lambda: grey)


@apart
def _levelled(grey: "tf.Tensor", light: "tf.Tensor") -> "tf.Tensor":
    """Return a photo in even light.

    Args:
        light: at its edges, above, below, left and right: float32 [4].
    """
    shape = tf.cast(tf.shape(grey), tf.float32)
    size = tf.cast(shape * tf.minimum(1.0, _PHOTO_SIDE / tf.reduce_max(shape)), tf.int32)
    photo = tf.raw_ops.ResizeArea(images=grey[None, :, :, None], size=tf.maximum(1, size))
    top, bottom, left, right = tf.unstack(light)
    down = tf.linspace(top, bottom, tf.shape(photo)[1])[:, None]
    across = tf.linspace(left, right, tf.shape(photo)[2])
    middle = tf.reduce_mean(light)
    # It makes ink lighter as it does paper.
    even = photo[0, :, :, 0] * middle / tf.maximum(1.0, down + across - middle)
    return tf.cast(tf.clip_by_value(tf.round(even), 0, 255), tf.uint8)


def _ink(grey: "tf.Tensor") -> "tuple[Callable[[tf.Tensor], tf.Tensor], tf.Tensor]":
    """Return what makes ink of grey values, uint8 -> uint8, and the strongest, int32 scalar.

    The edge is paper. Ink is whatever differs from it, dark on light or light on dark.
    """
    paper = _median(tf.concat(_sides(grey), 0))
    black, white = (tf.constant(value, tf.uint8) for value in (0, 255))
    # On grey paper either counts: then both are the paper's value.
    lightest = tf.where(paper < 192, paper, white)
    darkest = tf.where(paper > 64, paper, black)

    def ink_of(values: "tf.Tensor") -> "tf.Tensor":
        return tf.maximum(values, lightest) - lightest + darkest - tf.minimum(values, darkest)

    extremes = tf.stack([tf.reduce_min(grey), tf.reduce_max(grey)])
    return ink_of, tf.cast(tf.reduce_max(ink_of(extremes)), tf.int32)


def _cut_out(
    grey: "tf.Tensor", ink_of: "Callable[[tf.Tensor], tf.Tensor]", least: "tf.Tensor"
) -> "tf.Tensor":
    """Return the ink of the part of a picture that has some: uint8 [h, w] -> [h', w']."""

    def with_ink(lines: "tf.Tensor") -> "tf.Tensor":
        extremes = tf.stack([tf.reduce_min(lines, axis=1), tf.reduce_max(lines, axis=1)])
        return tf.where(tf.reduce_max(ink_of(extremes), axis=0) >= least)[:, 0]

    rows = with_ink(grey)
    part = grey[rows[0] : rows[-1] + 1]
    # Along the lines of a turned picture it takes a fifth of the time.
    columns = with_ink(tf.transpose(part))
    ink = ink_of(part[:, columns[0] : columns[-1] + 1])
    return tf.where(ink >= least, ink, tf.zeros_like(ink))


def _fitted(ink: "tf.Tensor") -> "tf.Tensor":
    """Return a digit scaled so that its longer side has 20 pixels: float32, 0..1."""
    shape = tf.shape(ink)
    scale = _DIGIT_SIDE / tf.reduce_max(shape)
    size = tf.maximum(1, tf.cast(tf.round(tf.cast(shape, tf.float64) * scale), tf.int32))
    scaled = tf.cond(
        scale < 1,
        lambda: tf.raw_ops.ResizeArea(images=ink[None, :, :, None], size=size),
        lambda: tf.image.resize(ink[None, :, :, None], size, "bicubic"),
    )[0, :, :, 0]
    fitted = tf.clip_by_value(scaled, 0, 255)
    # Averaging dims thin strokes; MNIST's reach full white.
    return fitted / tf.maximum(tf.reduce_max(fitted), 1e-6)


def _centred(digit: "tf.Tensor") -> "tf.Tensor":
    """Return a 28x28 array with the digit's centre of mass in its middle."""
    mass = tf.reduce_sum(digit)
    before, after = [], []
    for axis in (0, 1):
        length = tf.shape(digit)[axis]
        places = tf.range(tf.cast(length, tf.float32))
        centre = tf.reduce_sum(tf.reduce_sum(digit, axis=1 - axis) * places) / mass
        # Pixel k covers k..k+1, so the middle of 28 pixels is at 13.5. A lopsided digit must not
        # leave the frame.
        shift = tf.cast(tf.round((SIDE - 1) / 2 - centre), tf.int32)
        before.append(tf.clip_by_value(shift, 0, SIDE - length))
        after.append(SIDE - length - before[-1])
    return tf.ensure_shape(tf.pad(digit, tf.stack([before, after], axis=1)), [SIDE, SIDE])
