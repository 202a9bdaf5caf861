"""GIF: its first frame, transparent or not (CompuServe, GIF89a)."""

from training.apart import apart
from training.formats.colours import in_channels
from training.formats.content import LITTLE, MOST_PARTS, numbers, text
from training.formats.exif import NONE
from training.formats.refusal import within_memory
from training.quiet_tensorflow import tf

BEGINNING = b"GIF8"
_HEADER = 13
_EXTENSION, _FRAME, _CONTROL = 0x21, 0x2C, 0xF9
_HAS_TABLE = 0x80


@apart
def decode(
    data: "tf.Tensor", name: "tf.Tensor | str", channels: int
) -> "tuple[tf.Tensor, tf.Tensor]":
    """Return the picture, uint8 [h, w, channels] on white paper, and that it has no Exif."""
    header = numbers(data, 0, LITTLE, width=(6, 2), height=(8, 2), flags=(10, 1))

    def decoded() -> "tf.Tensor":
        opaque = _on_white(data, header["flags"])
        found = tf.io.decode_image(opaque, 3, expand_animations=False)
        return in_channels(tf.ensure_shape(found, [None, None, 3]), channels)

    picture = within_memory(decoded, name, header["width"], header["height"], 4)
    return picture, tf.constant(NONE)


def _on_white(data: "tf.Tensor", flags: "tf.Tensor") -> "tf.Tensor":
    """Return a file whose transparent colour is white, and not transparent.

    TensorFlow leaves transparent pixels black, as black ink is.
    """
    table_size = tf.where(flags >= _HAS_TABLE, 3 * tf.bitwise.left_shift(2, flags & 7), 0)
    frame, control = _blocks(data, _HEADER + table_size)
    own_table = numbers(data, frame, LITTLE, flags=(9, 1))["flags"] >= _HAS_TABLE
    table = tf.where(own_table, frame + 10, _HEADER)
    shown = numbers(data, control, LITTLE, flags=(3, 1), colour=(6, 1))
    is_transparent = (control > 0) & (frame > 0) & (shown["flags"] % 2 == 1)
    opaque = _replaced(data, control + 3, b"\0", is_transparent)
    return _replaced(opaque, table + 3 * shown["colour"], b"\xff\xff\xff", is_transparent)


def _blocks(data: "tf.Tensor", begin: "tf.Tensor") -> "tuple[tf.Tensor, tf.Tensor]":
    """Return where the first frame, and what says how to show it, stand (0: nowhere)."""

    def look(
        at: "tf.Tensor",
        _: "tf.Tensor",
        inside: "tf.Tensor",
        frame: "tf.Tensor",
        control: "tf.Tensor",
    ) -> "tuple[tf.Tensor, ...]":
        block = numbers(data, at, LITTLE, kind=(0, 1), label=(1, 1))
        is_extension = ~inside & (block["kind"] == _EXTENSION)
        is_frame = ~inside & (block["kind"] == _FRAME)
        return (
            at + tf.where(is_extension, 2, 1 + block["kind"]),
            inside | is_extension,
            # An extension is a row of parts, and a part of no bytes ends it.
            tf.where(inside, block["kind"] > 0, is_extension),
            tf.where(is_frame, at, frame),
            tf.where(is_extension & (block["label"] == _CONTROL), at, control),
        )

    _, _, _, frame, control = tf.while_loop(
        lambda _at, more, *_: more,
        look,
        (begin, tf.constant(True), tf.constant(False), tf.constant(0), tf.constant(0)),
        maximum_iterations=MOST_PARTS,
    )
    return frame, control


def _replaced(data: "tf.Tensor", at: "tf.Tensor", new: bytes, wanted: "tf.Tensor") -> "tf.Tensor":
    after = text(data, at + tf.where(wanted, len(new), 0), tf.strings.length(data))
    return tf.strings.join([text(data, 0, at), tf.where(wanted, new, b""), after])
