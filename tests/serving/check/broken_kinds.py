"""SavedModels that load badly, never answer, or can't be asked by a row that is made up.

`python3 tests/serving/check/broken_kinds.py FOLDER` makes `FOLDER/<kind>`, one for each function.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

KINDS = (
    "keras_with_tf_saved_model_save", "keras_saved_plainly", "table_of_version_1",
    "variable_of_version_1", "tag_of_training", "no_signature", "python_function",
    "numpy_function", "endless", "file_of_this_machine", "no_asset", "no_variables",
    "half_of_the_variables", "half_of_the_graph", "unknown_operation",
    "file_of_the_request", "checked_values", "ragged", "large_pictures", "picture_files",
    "two_inputs_of_one_batch", "examples", "fixed_batch",
)  # fmt: skip


def main(folder: Path) -> None:
    """Save all kinds below a folder."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import tensorflow as tf

    for kind in KINDS:
        make: Callable[[Any, Path], None] = globals()[f"_{kind}"]
        make(tf, folder / kind)


def _save(tf: Any, path: Path, *specs: Any, **outputs: Callable[..., Any]) -> None:
    """Save a module whose signature gives `outputs`, each of all inputs."""

    @tf.function(input_signature=list(specs), autograph=False)
    def serve(*inputs: Any) -> Any:
        return {name: function(*inputs) for name, function in outputs.items()}

    tf.saved_model.save(tf.Module(), str(path), signatures=serve)


def _network(tf: Any) -> Any:
    return tf.keras.Sequential([tf.keras.Input([3]), tf.keras.layers.Dense(1)])


def _keras_with_tf_saved_model_save(tf: Any, path: Path) -> None:
    model = _network(tf)

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def serve(x: Any) -> Any:
        return {"y": model(x)}

    tf.saved_model.save(model, str(path), signatures=serve)


def _keras_saved_plainly(tf: Any, path: Path) -> None:
    tf.saved_model.save(_network(tf), str(path))


def _of_version_1(tf: Any, path: Path, tags: list[str], dtype: Any, output: Any) -> None:
    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(dtype, [None], "x")
        y = output(v1, x)
        session.run([v1.tables_initializer(), v1.global_variables_initializer()])
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, tags, {"serving_default": signature})
        builder.save()


def _table_of_version_1(tf: Any, path: Path) -> None:
    def look_up(_: Any, x: Any) -> Any:
        filled = tf.lookup.KeyValueTensorInitializer(["a"], [1.0])
        return tf.lookup.StaticHashTable(filled, -1.0).lookup(x)

    _of_version_1(tf, path, ["serve"], tf.string, look_up)


def _variable_of_version_1(tf: Any, path: Path) -> None:
    def scaled(v1: Any, x: Any) -> Any:
        kept = v1.get_variable("kept", initializer=2.0)
        lost = v1.get_variable("lost", initializer=2.0, use_resource=False, collections=[])
        return x * kept * lost

    _of_version_1(tf, path, ["serve"], tf.float32, scaled)


def _tag_of_training(tf: Any, path: Path) -> None:
    _of_version_1(tf, path, ["train"], tf.float32, lambda v1, x: x * v1.get_variable("v", []))


def _no_signature(tf: Any, path: Path) -> None:
    module = tf.Module()
    module.variable = tf.Variable(1.0)
    tf.saved_model.save(module, str(path))


def _python_function(tf: Any, path: Path) -> None:
    numbers = tf.TensorSpec([None], tf.float32, name="x")
    _save(tf, path, numbers, y=lambda x: tf.py_function(lambda v: v * 2, [x], tf.float32))


def _numpy_function(tf: Any, path: Path) -> None:
    numbers = tf.TensorSpec([None], tf.float32, name="x")
    _save(tf, path, numbers, y=lambda x: tf.numpy_function(lambda v: v * 2, [x], tf.float32))


def _endless(tf: Any, path: Path) -> None:
    def turns(x: Any) -> Any:
        return tf.while_loop(lambda i: tf.reduce_sum(i) > -1, lambda i: i + 1, [x])[0]

    _save(tf, path, tf.TensorSpec([None], tf.float32, name="x"), y=turns)


def _file_of_this_machine(tf: Any, path: Path) -> None:
    text = tf.TensorSpec([], tf.string, name="text")
    _save(tf, path, text, y=lambda text: text + tf.io.read_file("/nowhere/words.txt"))


def _no_asset(tf: Any, path: Path) -> None:
    words = path.parent / "words.txt"
    words.write_text("zero\none\n")
    module = tf.Module()
    module.table = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            str(words), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
        ), -1,
    )  # fmt: skip

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="words")])
    def serve(words: Any) -> Any:
        return {"numbers": module.table.lookup(words)}

    tf.saved_model.save(module, str(path), signatures=serve)
    shutil.rmtree(path / "assets")


def _no_variables(tf: Any, path: Path) -> None:
    _network(tf).export(str(path), verbose=False)
    shutil.rmtree(path / "variables")


def _half(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def _half_of_the_variables(tf: Any, path: Path) -> None:
    _network(tf).export(str(path), verbose=False)
    [file] = (path / "variables").glob("*.data-*")
    _half(file)


def _half_of_the_graph(tf: Any, path: Path) -> None:
    _network(tf).export(str(path), verbose=False)
    _half(path / "saved_model.pb")


def _unknown_operation(tf: Any, path: Path) -> None:
    _save(tf, path, tf.TensorSpec([None], tf.float32, name="x"), y=tf.math.softplus)
    file = path / "saved_model.pb"
    # Of the same length.
    file.write_bytes(file.read_bytes().replace(b"Softplus", b"Sentence"))


def _file_of_the_request(tf: Any, path: Path) -> None:
    _save(tf, path, tf.TensorSpec([], tf.string, name="path"), y=tf.io.read_file)


def _checked_values(tf: Any, path: Path) -> None:
    def checked(x: Any) -> Any:
        with tf.control_dependencies([tf.debugging.assert_positive(x, "not above 0")]):
            return tf.identity(x)

    _save(tf, path, tf.TensorSpec([None], tf.float32, name="x"), y=checked)


def _ragged(tf: Any, path: Path) -> None:
    texts = tf.TensorSpec([None], tf.string, name="texts")
    _save(tf, path, texts, words=tf.strings.split, lengths=tf.strings.length)


def _large_pictures(tf: Any, path: Path) -> None:
    """Of any size, but not of a single pixel."""
    layers = tf.keras.layers
    pictures = tf.keras.Input([None, None, 3], name="pictures")
    found = layers.Conv2D(2, 5)(layers.MaxPool2D(3)(layers.Conv2D(2, 7)(pictures)))
    model = tf.keras.Model(pictures, layers.GlobalAveragePooling2D()(found))
    model.export(str(path), verbose=False)


def _picture_files(tf: Any, path: Path) -> None:
    def sizes(encoded: Any) -> Any:
        size = lambda one: tf.size(tf.io.decode_image(one))  # noqa: E731
        return tf.map_fn(size, encoded, fn_output_signature=tf.int32)

    _save(tf, path, tf.TensorSpec([None], tf.string, name="image_bytes"), sizes=sizes)


def _two_inputs_of_one_batch(tf: Any, path: Path) -> None:
    numbers = tf.TensorSpec([None, None], tf.float32, name="numbers")
    weights = tf.TensorSpec([None, None], tf.float32, name="weights")
    scale = tf.TensorSpec([], tf.float64, name="scale")
    _save(
        tf, path, numbers, weights, scale,
        y=lambda a, b, scale: tf.linalg.matmul(a, b, transpose_b=True) * tf.cast(scale, a.dtype),
    )  # fmt: skip


def _examples(tf: Any, path: Path) -> None:
    features = {"x": tf.io.FixedLenFeature([1], tf.float32, default_value=[0.0])}
    serialized = tf.TensorSpec([None], tf.string, name="examples")
    _save(tf, path, serialized, x=lambda given: tf.io.parse_example(given, features)["x"])


def _fixed_batch(tf: Any, path: Path) -> None:
    _save(tf, path, tf.TensorSpec([4, 2], tf.complex64, name="x"), y=tf.math.real)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
