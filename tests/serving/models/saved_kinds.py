"""SavedModels of every kind that TensorFlow and Keras write, and what each answers in process.

`python3 tests/serving/models/saved_kinds.py FOLDER` makes `FOLDER/<kind>/1` and `FOLDER/<kind>.pkl`
with inputs and answers: TensorFlow's import and Keras' warnings stay out of the test process.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

KINDS = (
    "sequential", "functional", "subclassed", "dictionaries", "convolution", "string_lookup",
    "text_vectorization", "numbers_and_categories", "hashing", "recurrent", "attention",
    "distributed",
    "mixed_bfloat16", "mixed_float16", "double", "int8", "saved_model_layer", "several_endpoints",
    "plain_save", "module", "module_with_table", "examples", "tables_and_assets",
    "old_control_flow",
)  # fmt: skip

Values = dict[str, Any]
"""Alias to a value that numpy takes."""


def main(folder: Path) -> None:
    """Export all kinds below a folder."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import tensorflow as tf

    processors = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], processors
    )
    tf.keras.utils.set_random_seed(5)
    for kind in KINDS:
        make: Callable[[Any, Path], tuple[Values, Values] | Values] = globals()[f"_{kind}"]
        made = make(tf, folder / kind / "1")
        given, answers = made if isinstance(made, tuple) else (made, None)
        if answers is None:
            loaded = tf.saved_model.load(str(folder / kind / "1"))
            signature = loaded.signatures["serving_default"]
            # Of each input the type that the signature takes.
            types = {
                name: spec.dtype for name, spec in signature.structured_input_signature[1].items()
            }
            tensors = {name: tf.constant(value, types[name]) for name, value in given.items()}
            answers = {name: value.numpy() for name, value in signature(**tensors).items()}
            given = {name: value.numpy() for name, value in tensors.items()}
        (folder / f"{kind}.pkl").write_bytes(pickle.dumps((given, answers)))


def _exported(
    model: Any, path: Path, *given: Any, names: tuple[str, ...] = ()
) -> tuple[Values, Values]:
    """Export a Keras model as its documentation says; the answers are those of a call of it."""
    model.export(str(path), verbose=False)
    outputs = model(given[0] if len(given) == 1 else list(given))
    if not isinstance(outputs, dict):
        outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        outputs = {f"output_{number}": value for number, value in enumerate(outputs)}
    inputs = given[0] if isinstance(given[0], dict) else dict(zip(names, given, strict=True))
    return (
        {name: np.asarray(value) for name, value in inputs.items()},
        {name: value.numpy() for name, value in outputs.items()},
    )


def _sequential(tf: Any, path: Path) -> tuple[Values, Values]:
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [layers.Input([3], name="x"), layers.Dense(4, "relu"), layers.Dense(2)]
    )
    return _exported(model, path, tf.random.normal([5, 3]), names=("x",))


def _functional(tf: Any, path: Path) -> tuple[Values, Values]:
    layers = tf.keras.layers
    left, right = layers.Input([3], name="left"), layers.Input([2], name="right")
    both = layers.Concatenate()([left, right])
    model = tf.keras.Model([left, right], [layers.Dense(2)(both), layers.Softmax()(both)])
    given = tf.random.normal([4, 3]), tf.random.normal([4, 2])
    return _exported(model, path, *given, names=("left", "right"))


def _subclassed(tf: Any, path: Path) -> tuple[Values, Values]:
    class Subclassed(tf.keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = tf.keras.layers.Dense(3)
            self.dropout = tf.keras.layers.Dropout(0.5)

        def call(self, inputs: Any, training: bool = False) -> Any:
            return tf.nn.softmax(self.dropout(self.dense(inputs), training=training))

    model = Subclassed()
    given = tf.random.normal([2, 6])
    model(given)
    model.export(
        str(path), input_signature=[tf.keras.InputSpec(shape=(None, 6), dtype="float32", name="x")],
        verbose=False,
    )  # fmt: skip
    return {"x": given.numpy()}, {"output_0": model(given).numpy()}


def _dictionaries(tf: Any, path: Path) -> tuple[Values, Values]:
    layers = tf.keras.layers
    inputs = {name: layers.Input([2], name=name) for name in ("age", "income")}
    both = layers.Concatenate()(list(inputs.values()))
    model = tf.keras.Model(inputs, {"risk": layers.Dense(1)(both), "group": layers.Softmax()(both)})
    return _exported(model, path, {name: tf.random.normal([3, 2]) for name in inputs})


def _convolution(tf: Any, path: Path) -> tuple[Values, Values]:
    layers = tf.keras.layers
    model = tf.keras.Sequential([
        layers.Input([16, 16, 3], name="images"), layers.Rescaling(1 / 127.5, -1),
        layers.Resizing(12, 12), layers.Conv2D(4, 3), layers.BatchNormalization(),
        layers.SeparableConv2D(4, 3), layers.MaxPooling2D(), layers.Conv2DTranspose(2, 3),
    ])  # fmt: skip
    return _exported(model, path, tf.random.uniform([2, 16, 16, 3], 0, 255), names=("images",))


def _string_lookup(tf: Any, path: Path) -> tuple[Values, Values]:
    layers = tf.keras.layers
    lookup = layers.StringLookup(vocabulary=["red", "green", "blue"], output_mode="one_hot")
    x = layers.Input([1], dtype="string", name="colour")
    names = layers.StringLookup(vocabulary=["red", "green", "blue"], invert=True)
    whole = layers.StringLookup(vocabulary=["red", "green", "blue"])
    model = tf.keras.Model(x, [layers.Dense(2)(lookup(x)), names(whole(x))])
    return _exported(model, path, tf.constant([["green"], ["mauve"]]), names=("colour",))


def _text_vectorization(tf: Any, path: Path) -> tuple[Values, Values]:
    layers = tf.keras.layers
    vectorize = layers.TextVectorization(output_sequence_length=5)
    vectorize.adapt(["the cat sat", "on the mat", "a dog"])
    x = layers.Input([1], dtype="string", name="text")
    words = layers.Embedding(vectorize.vocabulary_size(), 4, mask_zero=True)(vectorize(x))
    model = tf.keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling1D()(words)))
    return _exported(model, path, tf.constant([["The cat!"], ["a bird"]]), names=("text",))


def _numbers_and_categories(tf: Any, path: Path) -> tuple[Values, Values]:
    layers = tf.keras.layers
    normalize = layers.Normalization()
    normalize.adapt(tf.constant([[1.0, 20.0], [3.0, 60.0]]))
    numbers = layers.Input([2], name="numbers")
    number = layers.Input([1], dtype="int64", name="number")
    known = layers.IntegerLookup(vocabulary=[7, 9], output_mode="multi_hot")(number)
    bins = layers.Discretization(bin_boundaries=[0.0, 1.0])(numbers)
    model = tf.keras.Model(
        {"numbers": numbers, "number": number},
        {"y": layers.Concatenate()([normalize(numbers), known]), "bins": bins},
    )
    given = {
        "numbers": tf.constant([[2.0, 0.5], [-1.0, 90.0]]),
        "number": tf.constant([[9], [8]], tf.int64),
    }
    return _exported(model, path, given)


def _hashing(tf: Any, path: Path) -> tuple[Values, Values]:
    layers = tf.keras.layers
    x = layers.Input([1], dtype="string", name="city")
    crossed = layers.CategoryEncoding(8, output_mode="one_hot")(layers.Hashing(8)(x))
    return _exported(
        tf.keras.Model(x, crossed), path, tf.constant([["Ulm"], ["Köln"]]), names=("city",)
    )


def _recurrent(tf: Any, path: Path) -> tuple[Values, Values]:
    layers = tf.keras.layers
    x = layers.Input([None, 3], name="steps")
    masked = layers.Masking()(x)
    whole, *state = layers.LSTM(4, return_sequences=True, return_state=True)(masked)
    model = tf.keras.Model(x, [layers.Bidirectional(layers.GRU(2))(whole), *state])
    given = tf.random.normal([2, 6, 3]) * tf.constant([[[1.0]] * 6, [[1.0]] * 4 + [[0.0]] * 2])
    return _exported(model, path, given, names=("steps",))


def _attention(tf: Any, path: Path) -> tuple[Values, Values]:
    layers = tf.keras.layers
    x = layers.Input([None], dtype="int32", name="tokens")
    words = layers.Embedding(20, 8)(x)
    seen = layers.LayerNormalization()(
        words + layers.MultiHeadAttention(2, 4)(words, words, use_causal_mask=True)
    )
    model = tf.keras.Model(x, layers.Dense(20, "softmax")(seen))
    return _exported(model, path, tf.constant([[3, 1, 4, 1], [5, 9, 2, 6]]), names=("tokens",))


def _distributed(tf: Any, path: Path) -> tuple[Values, Values]:
    """Exported with variables that are mirrored over two devices.

    `tf.saved_model.save` of such a Keras model leaves them unset in every session, TensorFlow's own
    included.
    """
    layers = tf.keras.layers
    with tf.distribute.MirroredStrategy(devices=("/cpu:0", "/cpu:1")).scope():
        model = tf.keras.Sequential([layers.Input([3], name="x"), layers.Dense(2)])
    return _exported(model, path, tf.random.normal([4, 3]), names=("x",))


def _of_type(tf: Any, path: Path, policy: str) -> tuple[Values, Values]:
    layers = tf.keras.layers
    x = layers.Input([4], name="x", dtype="float64" if policy == "float64" else "float32")
    hidden = layers.Dense(8, "relu", dtype=policy)(x)
    model = tf.keras.Model(x, layers.Dense(2, dtype=policy)(hidden))
    return _exported(model, path, tf.random.normal([3, 4], dtype=x.dtype), names=("x",))


def _mixed_bfloat16(tf: Any, path: Path) -> tuple[Values, Values]:
    return _of_type(tf, path, "mixed_bfloat16")


def _mixed_float16(tf: Any, path: Path) -> tuple[Values, Values]:
    return _of_type(tf, path, "mixed_float16")


def _double(tf: Any, path: Path) -> tuple[Values, Values]:
    return _of_type(tf, path, "float64")


def _int8(tf: Any, path: Path) -> tuple[Values, Values]:
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [layers.Input([16], name="x"), layers.Dense(8, "relu"), layers.Dense(2)]
    )
    model.quantize("int8")
    return _exported(model, path, tf.random.normal([3, 16]), names=("x",))


def _saved_model_layer(tf: Any, path: Path) -> tuple[Values, Values]:
    """A SavedModel as a layer of another."""
    inner = path.parent.parent / "sequential" / "1"
    x = tf.keras.layers.Input([3], name="x")
    layer = tf.keras.layers.TFSMLayer(str(inner), call_endpoint="serving_default")
    model = tf.keras.Model(x, layer(x))
    return _exported(model, path, tf.random.normal([2, 3]), names=("x",))


def _several_endpoints(tf: Any, path: Path) -> tuple[Values, Values]:
    layers = tf.keras.layers
    x = layers.Input([3], name="x")
    hidden = layers.Dense(4)(x)
    model = tf.keras.Model(x, layers.Dense(2)(hidden))
    features = tf.keras.Model(x, hidden)
    archive = tf.keras.export.ExportArchive()
    archive.track(model)
    archive.track(features)
    spec = [tf.TensorSpec([None, 3], tf.float32, "x")]
    archive.add_endpoint("serving_default", lambda x: {"y": model(x)}, spec)
    archive.add_endpoint("features", lambda x: {"features": features(x)}, spec)
    archive.write_out(str(path), verbose=False)
    given = tf.random.normal([2, 3])
    return {"x": given.numpy()}, {"y": model(given).numpy()}


def _plain_save(tf: Any, path: Path) -> Values:
    """`tf.saved_model.save` of a Keras model, with a layer that is a function."""
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [layers.Input([1], name="x"), layers.Lambda(lambda x: x * 2, name="y")]
    )
    tf.saved_model.save(model, str(path))
    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    [name] = signature.structured_input_signature[1]
    return {name: [[1.5], [4.0]]}


def _module(tf: Any, path: Path) -> Values:
    """Loops, conditions and no rank that is fixed."""
    module = tf.Module()
    module.factor = tf.Variable(3.0)

    @tf.function(
        input_signature=[
            tf.TensorSpec(None, tf.float32, "x"),
            tf.TensorSpec([], tf.int32, "times"),
        ],
        autograph=False,
    )
    def serve(x: Any, times: Any) -> Any:
        y = tf.while_loop(lambda i, _: i < times, lambda i, y: (i + 1, y * module.factor), (0, x))[
            1
        ]
        return {"y": y, "large": tf.cond(tf.reduce_max(y) > 10, lambda: "yes", lambda: "no")}

    tf.saved_model.save(module, str(path), signatures={"serving_default": serve})
    return {"x": [[1.0, 2.0]], "times": 2}


def _module_with_table(tf: Any, path: Path) -> Values:
    """A table that is filled from a file of the model."""
    path.parent.mkdir()
    (path.parent / "words.txt").write_text("zero\none\ntwo\n")
    module = tf.Module()
    module.table = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            str(path.parent / "words.txt"), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
        ), -1,
    )  # fmt: skip

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "words")], autograph=False)
    def serve(words: Any) -> Any:
        return {"numbers": module.table.lookup(words)}

    tf.saved_model.save(module, str(path), signatures={"serving_default": serve})
    (path.parent / "words.txt").unlink()
    return {"words": ["two", "three"]}


def _examples(tf: Any, path: Path) -> tuple[Values, Values]:
    """As an Estimator saves it: Examples in, method names of all three kinds."""
    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        serialized = v1.placeholder(tf.string, [None], "input_example_tensor")
        weight = v1.get_variable("weight", initializer=2.5)
        x = v1.io.parse_example(serialized, {"x": v1.io.FixedLenFeature([1], tf.float32)})["x"]
        scores = tf.concat([x * weight, 1 - x * weight], 1)
        classes = tf.tile(tf.constant([["0", "1"]]), [tf.shape(x)[0], 1])
        utils = v1.saved_model.signature_def_utils
        info = v1.saved_model.utils.build_tensor_info
        signatures = {
            "serving_default": utils.classification_signature_def(serialized, classes, scores),
            "regression": utils.regression_signature_def(serialized, x * weight),
            "predict": utils.build_signature_def(
                {"examples": info(serialized)}, {"scores": info(scores), "classes": info(classes)},
                "tensorflow/serving/predict",
            ),
        }  # fmt: skip
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
        example = tf.train.Example()
        example.features.feature["x"].float_list.value.append(0.25)
        given = [example.SerializeToString()]
        found = session.run({"scores": scores, "classes": classes}, {serialized: given})
    return {"inputs": given}, found


def _tables_and_assets(tf: Any, path: Path) -> tuple[Values, Values]:
    """TensorFlow 1: collections, an initialiser, and a table from an asset."""
    v1 = tf.compat.v1
    words = path.parent / "v1words.txt"
    path.parent.mkdir()
    words.write_text("zero\none\n")
    with v1.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.string, [None], "x")
        # It puts the file into the collection of assets.
        table = tf.lookup.StaticVocabularyTable(
            tf.lookup.TextFileInitializer(
                str(words), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ), 1,
        )  # fmt: skip
        v1.add_to_collection("losses", x)
        y = tf.cast(table.lookup(x), tf.float32) * v1.get_variable("scale", initializer=0.5)
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(
            session, ["serve"],
            {"serving_default": v1.saved_model.predict_signature_def({"x": x}, {"y": y})},
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            main_op=v1.tables_initializer(), strip_default_attrs=True,
        )  # fmt: skip
        builder.save()
        given = [b"one", b"seven"]
        found = session.run({"y": y}, {x: given})
    words.unlink()
    return {"x": given}, found


def _old_control_flow(tf: Any, path: Path) -> tuple[Values, Values]:
    """Switch, Merge and Enter in place of functions."""
    v1 = tf.compat.v1
    v1.disable_control_flow_v2()
    with v1.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None], "x")
        grown = v1.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, y * 2), (0, x))[1]
        y = v1.cond(tf.reduce_sum(x) > 5, lambda: grown, lambda: -grown)
        v1.saved_model.simple_save(session, str(path), {"x": x}, {"y": y})
        assert {"Enter", "Merge"} <= {node.op for node in session.graph_def.node}
        given = np.float32([1.0, 2.5])
        found = session.run({"y": y}, {x: given})
    v1.enable_control_flow_v2()
    return {"x": given}, found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
