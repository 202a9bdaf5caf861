"""Export a SavedModel in one step."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training import export_parts, pictures
from training.about import SIGNATURE, about_signature, check_about, concrete_function
from training.command_line import TrainingError
from training.folders import MODEL_FOLDER
from training.quiet_tensorflow import tf
from training.samples import Samples, records, write


def export_model(
    folder: Path,
    module: Any,
    signatures: Mapping[str, Any],
    *,
    about: Mapping[str, Any] | None = None,
    samples: Samples | None = None,
) -> Path:
    """Write `<folder>/model`, over an older one; it is never seen half written.

    Args:
        module: what the signatures use: a tf.Module, a Keras model, or a list of such, of Keras
            layers and of what else TensorFlow keeps.
        signatures: name -> tf.function with an input signature that returns name -> tensor.
        about: title, meaning of inputs and names of classes, for the page and the client
            (docs/contracts.md). It becomes one more signature.
        samples: signature -> a request that it answers, as input -> values, or a list of such.
            The model is tried with them before it is published, and servers warm up by them.

    Raises:
        TrainingError: see `training.about.check_about` and `training.samples.records`; or a
            signature is none, or uses something that can't be found.
    """
    signatures = dict(signatures)
    if about is not None:
        check_about(about, signatures)
    # Given as it was, a function would be traced a second time. It may also build a Keras model.
    concrete = {name: _concrete(name, function) for name, function in signatures.items()}
    warm_up = records(samples, concrete) if samples else []
    if about is not None:
        concrete[SIGNATURE] = concrete_function(about_signature(about))
    target = folder / MODEL_FOLDER
    temporary = folder / f".{MODEL_FOLDER}.part"
    shutil.rmtree(temporary, ignore_errors=True)
    root = export_parts.root_of(module, concrete.values())
    try:
        tf.saved_model.save(root, str(temporary), signatures=concrete)
    except AssertionError as error:
        if "'untracked' resource" not in str(error):
            raise
        raise TrainingError(
            "A signature uses a variable or a table that is not in what is exported. Give "
            f"export_model all that it uses: export_model(folder, [model, lookup], …). {error}"
        ) from error
    if warm_up:
        write(temporary, warm_up)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(temporary, target)
    return target


def _concrete(name: str, function: Any) -> Any:
    """Return a signature's graph; raise TrainingError unless it has one."""
    example = '@tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])'
    if not hasattr(function, "get_concrete_function") and not hasattr(function, "captured_inputs"):
        raise TrainingError(
            f"signatures[{name!r}] is {function!r}. Give a function with {example} above it."
        )
    if getattr(function, "input_signature", ()) is None:
        raise TrainingError(
            f"signatures[{name!r}] does not say what it takes. Write {example} above it."
        )
    return concrete_function(function)


def decode_pictures(encoded: "tf.Tensor", height: int, width: int) -> "tf.Tensor":
    """Return encoded pictures as grey values, string [n] -> float32 [n, height * width] in 0..1.

    `training.pictures` has more of this: with colours, and one by one.
    """
    grey = pictures.decode_pictures(encoded, height, width, channels=1)
    return tf.reshape(grey / 255.0, [-1, height * width])
