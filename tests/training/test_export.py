"""An export as TensorFlow Serving runs it: a graph session, which knows no Python objects."""

import numpy as np
import pytest

from training.export import export_model

tf = pytest.importorskip("tensorflow")


def test_a_keras_model_is_restored_in_a_graph_session(tmp_path):
    """Its variables were missing there, while `tf.saved_model.load` found them."""
    model = tf.keras.Sequential([tf.keras.Input([2]), tf.keras.layers.Dense(1)])
    model.layers[0].set_weights([np.array([[1.0], [2.0]]), np.array([3.0])])

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    def serving_default(x):
        return {"y": model(x)}

    folder = export_model(tmp_path, model, {"serving_default": serving_default})
    assert served(folder, {"x": [[10, 100]]})["y"].tolist() == [[213.0]]


def served(folder, inputs):
    """Return the outputs of `serving_default` in a graph session."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(folder))
        signature = graph.signature_def["serving_default"]
        wanted = {name: spec.name for name, spec in signature.outputs.items()}
        return session.run(wanted, {signature.inputs[name].name: inputs[name] for name in inputs})


def lookups():
    """Keras' layers that keep a table, each with what it makes of a word and a number."""
    layers = tf.keras.layers
    words = layers.TextVectorization(output_mode="multi_hot")
    words.adapt(["a b", "b c"])
    return {
        "text": words,
        "word": layers.StringLookup(vocabulary=["x", "y"], output_mode="one_hot"),
        "number": layers.IntegerLookup(vocabulary=[7, 9], output_mode="one_hot"),
    }


SPECS = {
    "text": tf.TensorSpec([None], tf.string, name="text"),
    "word": tf.TensorSpec([None], tf.string, name="word"),
    "number": tf.TensorSpec([None], tf.int64, name="number"),
}
INPUTS = {"text": ["c a", "b"], "word": ["y", "?"], "number": [7, 8]}


@pytest.mark.parametrize("apart", [False, True], ids=["in the model", "beside the model"])
def test_layers_with_tables_are_exported(tmp_path, apart):
    """TensorFlow said that the signature references an 'untracked' resource."""
    tables = lookups()
    given = [tf.keras.Input([], dtype=SPECS[name].dtype, name=name) for name in tables]
    made = [tables[spec.name](spec) for spec in given]
    widths = [tf.keras.Input([part.shape[-1]]) for part in made]
    inside = widths if apart else given
    joined = tf.keras.layers.Concatenate()(widths if apart else made)
    model = tf.keras.Model(inside, tf.keras.layers.Dense(1, kernel_initializer="ones")(joined))

    @tf.function(input_signature=list(SPECS.values()))
    def serving_default(text, word, number):
        parts = {"text": text, "word": word, "number": number}
        if apart:
            parts = [tables[name](part) for name, part in parts.items()]
        return {"y": model(parts)}

    module = [model, *tables.values()] if apart else model
    folder = export_model(tmp_path, module, {"serving_default": serving_default})
    expected = serving_default(*(tf.constant(INPUTS[name], SPECS[name].dtype) for name in SPECS))
    assert served(folder, INPUTS)["y"].tolist() == expected["y"].numpy().tolist()
