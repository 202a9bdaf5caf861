"""Export a SavedModel in one step, and decode pictures inside its graph."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.quiet_tensorflow import tf

MODEL_FOLDER = "model"


def export_model(folder: Path, module: "tf.Module", signatures: Mapping[str, Any]) -> Path:
    """Write `<folder>/model`, over an older one; it is never seen half written.

    Args:
        module: holds all variables that the signatures use.
        signatures: name -> tf.function with an input signature that returns name -> tensor.
    """
    target = folder / MODEL_FOLDER
    temporary = folder / f".{MODEL_FOLDER}.part"
    shutil.rmtree(temporary, ignore_errors=True)
    tf.saved_model.save(module, str(temporary), signatures=dict(signatures))
    shutil.rmtree(target, ignore_errors=True)
    os.replace(temporary, target)
    return target


def decode_pictures(encoded: "tf.Tensor", height: int, width: int) -> "tf.Tensor":
    """Return encoded pictures as grey values, string [n] -> float32 [n, height * width] in 0..1.

    PNG, JPEG, BMP and GIF (first frame) of any size, grey, coloured or with transparency.
    """

    def decode(one: "tf.Tensor") -> "tf.Tensor":
        # Three channels whatever the file has: libpng and libjpeg turn grey into equal ones.
        coloured = tf.io.decode_image(one, channels=3, expand_animations=False)
        coloured.set_shape([None, None, 3])
        # The usual weights of luma; they sum to 1, so grey stays what it was.
        grey = tf.tensordot(tf.cast(coloured, tf.float32), [[0.299], [0.587], [0.114]], 1)
        resized = tf.image.resize(grey, [height, width], antialias=True)
        return tf.reshape(resized / 255.0, [height * width])

    spec = tf.TensorSpec([height * width], tf.float32)
    return tf.map_fn(decode, encoded, fn_output_signature=spec)
