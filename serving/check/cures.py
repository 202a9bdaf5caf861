"""What to do about a model that loads badly or never answers, by what TensorFlow says of it."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import Code, ServingError

_EXPORT = (
    "Export a Keras model with `model.export(FOLDER)` or `training.export.export_model(…)`, not "
    "with `tf.saved_model.save`"
)

_UNSET = (
    r"Could not find variable|Read variable failure|Attempting to use uninitialized"
    r"|Resource \S+ does not exist"
)

_COPY = (
    "Copy the whole folder of the SavedModel, `variables` with it, when it is written to its end."
)

_CURES = (
    (
        re.compile(_UNSET),
        "It reads a variable whose value is not in the SavedModel. "
        f"{_EXPORT}; a tf.Module has to hold each tf.Variable in an attribute.",
    ),
    (
        re.compile(r"[Tt]able not initialized|Table \S* ?not initialized|HashTable.*not.*initial"),
        "It looks something up in a table that nothing fills when the model is loaded. "
        f"{_EXPORT}; with TensorFlow 1, give `main_op=tf.compat.v1.tables_initializer()`.",
    ),
    (
        re.compile(r"PyFunc|callback pyfunc"),
        "It calls back into Python (`tf.py_function`, `tf.numpy_function`), and no server has the "
        "Python that it means. Write this part with TensorFlow's own operations, or leave it out "
        "of the signature.",
    ),
    (
        re.compile(r"/assets/[^ ;]*; No such file|[Aa]sset.*(not found|No such file)"),
        "A file that it reads when it is loaded is not in its folder `assets`. Copy the whole "
        "folder of the SavedModel, `assets` with it.",
    ),
    (
        re.compile(r"; No such file or directory"),
        "It reads a file that is not part of the SavedModel. Give the path to TensorFlow as an "
        "asset (`tf.saved_model.Asset`), or let the signature take the content.",
    ),
    (
        re.compile(r"variables/variables|Read less bytes|[Cc]hecksum|[Cc]an't parse|checkpoint"),
        f"Its files are not those that were saved, or not all of them. {_COPY}",
    ),
    (
        re.compile(r"Could not find meta graph def matching supplied tags"),
        "It was saved without the tag `serve`. Save it as TensorFlow 2 does, or with "
        "`tags=['serve']`.",
    ),
    (
        re.compile(r"only supports NHWC|No OpKernel was registered|only compatible devices"),
        "This machine has no way to run one of its operations, such as one made for GPUs. Build "
        "the exported graph for the machines that serve it.",
    ),
)

_NEVER_THE_ROW = re.compile(r"PyFunc|No OpKernel was registered")
"""Of what comes as INVALID_ARGUMENT."""


def explained(error: ServingError, folder: Path) -> str:
    """Return what to do about an error, if that is known, and TensorFlow's first line on it.

    Args:
        error: of a load or a run.
        folder: of the SavedModel.
    """
    said = f"TensorFlow says: {shortened(error)}"
    if re.search(_UNSET, error.message) and not (folder / "variables").is_dir():
        return f"It has no folder `variables`. {_COPY} {said}"
    for pattern, cure in _CURES:
        if pattern.search(error.message):
            return f"{cure} {said}"
    return said


def is_for_the_row(error: ServingError) -> bool:
    """Say whether a run may have failed for the values of its row, and may answer another one."""
    if error.code not in (Code.INVALID_ARGUMENT, Code.OUT_OF_RANGE):
        return False
    return not _NEVER_THE_ROW.search(error.message)


_MOST_LETTERS = 400


def shortened(error: ServingError) -> str:
    """Return code and text, without the names of nodes that TensorFlow adds."""
    text = " ".join(error.message.split("\n\t [[")[0].split())
    return f"{error.code.name}: {text[:_MOST_LETTERS]}{'…' * (len(text) > _MOST_LETTERS)}"
