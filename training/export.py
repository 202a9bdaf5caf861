"""Export a SavedModel in one step."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training import pictures
from training.about import SIGNATURE, about_signature, check_about, concrete_function
from training.folders import MODEL_FOLDER
from training.quiet_tensorflow import tf


def export_model(
    folder: Path,
    module: Any,
    signatures: Mapping[str, Any],
    *,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Write `<folder>/model`, over an older one; it is never seen half written.

    Args:
        module: a tf.Module or a Keras model that holds all variables and lookup tables which the
            signatures use, or a list of such and of Keras layers.
        signatures: name -> tf.function with an input signature that returns name -> tensor.
        about: title, meaning of inputs and names of classes, for the page and the client
            (docs/contracts.md). It becomes one more signature.

    Raises:
        TrainingError: see `training.about.check_about`.
    """
    signatures = dict(signatures)
    if about is not None:
        check_about(about, signatures)
        signatures[SIGNATURE] = about_signature(about)
    target = folder / MODEL_FOLDER
    temporary = folder / f".{MODEL_FOLDER}.part"
    shutil.rmtree(temporary, ignore_errors=True)
    root = module
    if not isinstance(module, tf.Module):
        root = _holder_of(module if isinstance(module, list | tuple) else [module])
    # Given as it was, a function would be traced a second time.
    concrete = {name: concrete_function(function) for name, function in signatures.items()}
    tf.saved_model.save(root, str(temporary), signatures=concrete)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(temporary, target)
    return target


def _holder_of(parts: Sequence[Any]) -> "tf.Module":
    """Return a module that tracks what TensorFlow keeps for modules and Keras models.

    Saved as it is, a Keras 3 model restores copies of its variables that no signature reads:
    `tf.saved_model.load` still works, but every graph session, TensorFlow Serving's first of all,
    answers "Could not find variable". `keras.export.ExportArchive` unwraps them in the same way,
    and looks for the tables of layers such as `StringLookup` as here.
    """
    holder = tf.Module()
    holder.modules = [part for part in parts if isinstance(part, tf.Module)]
    keras = [part for part in parts if not isinstance(part, tf.Module)]
    holder.weights = [variable.value for part in keras for variable in part.variables]
    resource = tf.saved_model.experimental.TrackableResource
    holder.tables = [
        found
        for part in keras
        for found in tf.train.TrackableView(part).descendants()
        if isinstance(found, resource)
    ]
    return holder


def decode_pictures(encoded: "tf.Tensor", height: int, width: int) -> "tf.Tensor":
    """Return encoded pictures as grey values, string [n] -> float32 [n, height * width] in 0..1.

    `training.pictures` has more of this: with colours, and one by one.
    """
    grey = pictures.decode_pictures(encoded, height, width, channels=1)
    return tf.reshape(grey / 255.0, [-1, height * width])
