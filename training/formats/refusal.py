"""What is refused, in words for people: INVALID_ARGUMENT of a server."""

from collections.abc import Callable

from training.quiet_tensorflow import tf

DAMAGED = "the file is damaged or incomplete"

MOST_BYTES = 100_000_000
"""That one picture may take while it is decoded: 100 million grey pixels, 25 million with
transparency."""


def refuse_if(
    fault: "tf.Tensor", name: "tf.Tensor | str", *words: "tf.Tensor | str | int"
) -> "tf.Operation":
    """Return the operation that fails if there is the fault, with words for people.

    Clients find them between `assertion failed: [` and `]`, with the name after it
    (docs/contracts.md). They have no `] [`, which ends them.

    Args:
        name: of the picture: `image_bytes[0]`.
        words: numbers are written out.
    """
    said = [word if isinstance(word, str) else _written(word) for word in words]
    return tf.debugging.Assert(tf.logical_not(fault), [tf.strings.join(said), name])


def within_memory(
    decode: "Callable[[], tf.Tensor]",
    name: "tf.Tensor | str",
    width: "tf.Tensor",
    height: "tf.Tensor",
    bytes_per_pixel: "tf.Tensor | int",
) -> "tf.Tensor":
    """Return what `decode` returns, unless the picture would take more than MOST_BYTES."""
    # In floats: the product of two numbers from a file may overflow, and need not be exact.
    needed = tf.reduce_prod(tf.cast(tf.stack([width, height, bytes_per_pixel]), tf.float32))
    most = MOST_BYTES // tf.maximum(bytes_per_pixel, 1)
    # By the header, before anything is decoded: a few bytes can announce gigabytes.
    broken = refuse_if((width < 1) | (height < 1), name, DAMAGED)
    large = refuse_if(
        needed > MOST_BYTES,
        name,
        *("it has ", width, "x", height, " pixels, and only ", most, " of such a file can be "),
        "read. Make it smaller",
    )
    with tf.control_dependencies([broken, large]):
        return decode()


def _written(word: "tf.Tensor | int") -> "tf.Tensor":
    value = tf.convert_to_tensor(word)
    return value if value.dtype == tf.string else tf.strings.as_string(value)
