"""An export as TensorFlow Serving runs it: a graph session, which knows no Python objects."""

import numpy as np
import pytest
from tensorflow_serving.apis import prediction_log_pb2

from tests.training.export_cases import CASES, signature
from training.command_line import TrainingError
from training.export import export_model
from training.samples import FILE

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


@pytest.mark.parametrize("case", CASES)
def test_models_answer_as_before_the_export(tmp_path, case):
    module, serving_default, inputs = CASES[case]()
    folder = export_model(tmp_path, module, {"serving_default": serving_default})
    specs = serving_default.input_signature
    expected = serving_default(
        *(tf.constant(value, spec.dtype) for value, spec in zip(inputs, specs, strict=True))
    )
    found = served(folder, {spec.name: value for spec, value in zip(specs, inputs, strict=True)})
    np.testing.assert_allclose(found["y"], expected["y"].numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (
            lambda x: {"y": x},
            r"signatures\['serving_default'\] is <function .* Give a function with",
        ),
        (tf.function(lambda x: {"y": x}), "does not say what it takes. Write @tf.function"),
    ],
)
def test_a_signature_that_is_none_says_how_to_write_one(tmp_path, function, words):
    with pytest.raises(TrainingError, match=words):
        export_model(tmp_path, tf.Module(), {"serving_default": function})


def identity():
    return {"serving_default": signature(tf.identity, [None, 3])}


def test_samples_are_warm_up_records(tmp_path):
    """As TensorFlow Serving has them: this reads them by its own messages."""
    rows = np.float32([[1, 2, 3]])
    samples = {"serving_default": [{"x": rows}, {"x": [[4, 5, 6]] * 100}]}
    folder = export_model(tmp_path, tf.Module(), identity(), samples=samples)
    found = [
        prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        for record in tf.compat.v1.io.tf_record_iterator(str(folder / FILE))
    ]
    assert [one.model_spec.signature_name for one in found] == ["serving_default"] * 2
    values = [tf.make_ndarray(one.inputs["x"]) for one in found]
    np.testing.assert_array_equal(values[0], rows)
    assert (values[1].shape, values[1].dtype) == ((100, 3), np.float32)


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ({"predict": {"x": []}}, "'predict', which is no signature .* Use one of: serving_default"),
        ({"serving_default": {"y": []}}, r"has the inputs 'y'\. Give .*: \{'x': …\}"),
        ({"serving_default": [[1, 2, 3]]}, r"samples\['serving_default'\]\[0\] has a list"),
        ({"serving_default": {"x": [["a"]]}}, r"\['x'\] can't be float32"),
        ({"serving_default": {"x": [1, 2, 3]}}, r"has the shape \[3\], .* takes \(None, 3\)"),
        ({"serving_default": [{"x": [[1, 2, 3]]}] * 1001}, "1001 requests. Give at most 1000"),
    ],
)
def test_samples_that_do_not_fit_are_refused(tmp_path, samples, words):
    with pytest.raises(TrainingError, match=words):
        export_model(tmp_path, tf.Module(), identity(), samples=samples)
