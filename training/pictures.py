"""Any picture file that people have, decoded in the graph of a model.

PNG, JPEG, GIF, BMP and WebP, of any size that fits in memory, grey, coloured or for print, with
transparency, turned as cameras do.
"""

from collections.abc import Callable
from typing import Any

from training.apart import apart
from training.formats import bmp, gif, jpeg, png, webp
from training.formats.exif import orientation, upright
from training.formats.refusal import DAMAGED, refuse_if
from training.quiet_tensorflow import tf, without_autograph

__all__ = ["DAMAGED", "decode_picture", "decode_pictures", "each_picture", "refuse_if"]


@without_autograph
def decode_picture(
    encoded: "tf.Tensor", channels: int = 3, name: "tf.Tensor | str" = "The picture"
) -> "tf.Tensor":
    """Return one picture as it is seen, string [] -> uint8 [height, width, channels].

    What is transparent is white paper. A JPEG of more than 25 million pixels comes smaller. What
    can't be used fails with INVALID_ARGUMENT and a text for people.

    Args:
        channels: 1: grey; 3: red, green, blue.
        name: what follows the text.
    """
    formats = (png, jpeg, webp, gif, bmp)
    is_it = tf.stack(
        [tf.strings.substr(encoded, 0, len(one.BEGINNING)) == one.BEGINNING for one in formats]
    )
    unknown = refuse_if(
        ~tf.reduce_any(is_it), name, "it cannot be read as PNG, JPEG, WebP, GIF or BMP"
    )

    def decoder(one: Any) -> "Callable[[], tuple[tf.Tensor, tf.Tensor]]":
        return lambda: one.decode(encoded, tf.convert_to_tensor(name), channels)

    with tf.control_dependencies([unknown]):
        which = tf.argmax(tf.cast(is_it, tf.int32), output_type=tf.int32)
        picture, exif = tf.switch_case(which, [decoder(one) for one in formats])
    picture = tf.ensure_shape(picture, [None, None, channels])
    return upright(picture, orientation(encoded, exif))


def each_picture(
    function: "Callable[[tf.Tensor, tf.Tensor], tf.Tensor]",
    encoded: "tf.Tensor",
    rows: "tf.Tensor",
    like: "tf.TensorSpec",
) -> "tf.Tensor":
    """Return what `function` makes of pictures, each given with a name: `image_bytes[0]`.

    One after the other: decoded, a picture may take hundreds of times its file's size.

    Args:
        encoded: string [n].
        rows: which of them, int64.
        like: what the function returns for one.
    """
    one = apart(function)
    return tf.map_fn(
        lambda row: one(
            encoded[row], tf.strings.join(["image_bytes[", tf.strings.as_string(row), "]"])
        ),
        rows,
        parallel_iterations=1,
        fn_output_signature=like,
    )


@without_autograph
def decode_pictures(
    encoded: "tf.Tensor", height: int, width: int, channels: int = 3
) -> "tf.Tensor":
    """Return encoded pictures in one size, string [n] -> float32 [n, height, width, channels].

    Values are 0..255. The proportions are not kept, as in Keras' `image_dataset_from_directory`.
    """

    def decode(one: "tf.Tensor", name: "tf.Tensor") -> "tf.Tensor":
        picture = decode_picture(one, channels, name)
        return tf.image.resize(picture, [height, width], antialias=True)

    rows = tf.range(tf.size(encoded, tf.int64))
    return each_picture(decode, encoded, rows, tf.TensorSpec([height, width, channels], tf.float32))
