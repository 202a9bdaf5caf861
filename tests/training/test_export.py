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
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(folder))
        signature = graph.signature_def["serving_default"]
        answer = session.run(signature.outputs["y"].name, {signature.inputs["x"].name: [[10, 100]]})
    assert answer.tolist() == [[213.0]]
