"""`python3 -m training about MODEL_DIR ABOUT_JSON`: have a SavedModel say what it is.

For models that were made elsewhere, by `Model.export` of Keras or a builder of TensorFlow 1 for
example. The signature `about` is added to what servers read; nothing is trained or loaded.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.about import ANSWER, QUESTION, SIGNATURE, about_signature, check_names, text_of
from training.command_line import ArgumentParser, TrainingError
from training.quiet_tensorflow import tf

if TYPE_CHECKING:
    from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

_FILE = "saved_model.pb"
_SERVE = "serve"
"""The tag of the graph that servers take."""


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit status.

    Raises:
        TrainingError: see `add_about`; or the second file holds no JSON object.
    """
    parser = ArgumentParser(prog="python3 -m training about", description=__doc__)
    parser.add_argument("model_dir", type=Path, help=f"folder with {_FILE}")
    parser.add_argument("about", type=Path, help="file with the JSON object, see docs/contracts.md")
    given = parser.parse_args(arguments)
    try:
        about = json.loads(given.about.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(f"Cannot read {str(given.about)!r}: {error.strerror}.") from error
    except ValueError as error:
        raise TrainingError(f"{str(given.about)!r} is not JSON in UTF-8: {error}.") from error
    replaced = add_about(given.model_dir, about)
    done = "says anew" if replaced else "says"
    print(f"{given.model_dir} {done} what it is: signature {SIGNATURE!r} answers {given.about}.")
    return 0


def add_about(folder: Path, about: Mapping[str, Any]) -> bool:
    """Add the signature `about` to a SavedModel, or put it in the place of an older one.

    The old file stays until the new one is whole and has been tried.

    Returns:
        Whether there was an older one.

    Raises:
        TrainingError: the folder holds no SavedModel that can be changed, or `about` does not fit
            its signatures.
    """
    text_of(about)
    path = folder / _FILE
    model = _read(path)
    meta = _served(path, model)
    defined = meta.signature_def
    older = defined.get(SIGNATURE)
    if older is not None and (set(older.inputs), set(older.outputs)) != ({QUESTION}, {ANSWER}):
        raise TrainingError(
            f"{path} has a signature {SIGNATURE!r} of its own, which is no JSON text about it. "
            "Export the model with another name for that."
        )
    others = [given for name, given in defined.items() if name != SIGNATURE]
    check_names(
        about,
        {alias for given in others for alias in given.inputs},
        {alias for given in others for alias in given.outputs},
    )
    _add(meta, about)
    _write(path, model, text_of(about))
    return older is not None


def _parsed(content: bytes) -> "saved_model_pb2.SavedModel":
    # Here, so that TensorFlow was imported before, quietly.
    from tensorflow.core.protobuf import saved_model_pb2

    return saved_model_pb2.SavedModel.FromString(content)


def _read(path: Path) -> "saved_model_pb2.SavedModel":
    if (path.parent / "manifest.json").exists():
        raise TrainingError(
            f"{path.parent} is a published version: its manifest has the checksum of each file. "
            "Give `about` to export_model, and train anew; or change a copy without manifest.json."
        )
    try:
        return _parsed(path.read_bytes())
    except FileNotFoundError as error:
        raise TrainingError(
            f"{path} is not there. Give the folder of a SavedModel, which holds {_FILE}."
        ) from error
    except OSError as error:
        raise TrainingError(f"Cannot read {path}: {error.strerror}.") from error
    except Exception as error:  # protobuf's DecodeError, by way of another package.
        raise TrainingError(f"{path} is damaged: {error}. Export the model anew.") from error


def _served(path: Path, model: "saved_model_pb2.SavedModel") -> "meta_graph_pb2.MetaGraphDef":
    """Return the graph that servers take."""
    for meta in model.meta_graphs:
        if list(meta.meta_info_def.tags) == [_SERVE]:
            return meta
    found = [list(meta.meta_info_def.tags) for meta in model.meta_graphs]
    raise TrainingError(f"{path} has no graph with the tag {_SERVE!r} alone, only {found}.")


def _add(meta: "meta_graph_pb2.MetaGraphDef", about: Mapping[str, Any]) -> None:
    """Add nodes and signature to a graph."""
    names = {node.name.split("/", 1)[0] for node in meta.graph_def.node}
    scope, number = SIGNATURE, 1
    while scope in names:
        scope, number = f"{SIGNATURE}_{number}", number + 1
    with tf.Graph().as_default() as graph, tf.name_scope(scope):
        question = tf.compat.v1.placeholder(tf.string, [None], QUESTION)
        # Spelled out in the graph: functions of the model may have any name.
        answer = tf.identity(about_signature(about).python_function(question)[ANSWER], ANSWER)
    meta.graph_def.node.extend(graph.as_graph_def().node)
    signature = meta.signature_def[SIGNATURE]
    signature.Clear()
    signature.method_name = tf.saved_model.PREDICT_METHOD_NAME
    for tensor, given in (
        (question, signature.inputs[QUESTION]),
        (answer, signature.outputs[ANSWER]),
    ):
        given.name = tensor.name
        given.dtype = tensor.dtype.as_datatype_enum
        given.tensor_shape.dim.add(size=-1)


def _write(path: Path, model: "saved_model_pb2.SavedModel", text: str) -> None:
    part = path.with_name(f".{_FILE}.part")
    try:
        with part.open("wb") as file:
            file.write(model.SerializeToString())
            file.flush()
            os.fsync(file.fileno())
        _check(_served(part, _parsed(part.read_bytes())), text)
        # It is of the old content, and a model may be without one.
        (path.parent / "fingerprint.pb").unlink(missing_ok=True)
        os.replace(part, path)
    except OSError as error:
        raise TrainingError(f"Cannot write {part}: {error.strerror}.") from error
    finally:
        part.unlink(missing_ok=True)


def _check(meta: "meta_graph_pb2.MetaGraphDef", text: str) -> None:
    """Ask the new signature, without the rest of the model."""
    given = meta.signature_def[SIGNATURE]
    question, answer = given.inputs[QUESTION].name, given.outputs[ANSWER].name
    scope = answer.rpartition("/")[0] + "/"
    alone = tf.compat.v1.GraphDef(versions=meta.graph_def.versions)
    alone.node.extend(node for node in meta.graph_def.node if node.name.startswith(scope))
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(alone, name="")
        with tf.compat.v1.Session(graph=graph) as session:
            said = session.run(answer, {question: ["", ""]}).tolist()
    assert said == [text.encode()] * 2, said
