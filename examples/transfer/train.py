"""Tell signs apart after few pictures: a network that was trained on something else learns them."""

import argparse
import json
from pathlib import Path

import keras
import tensorflow as tf

from training.pictures import decode_pictures
from training.readers import picture_folders

parser = argparse.ArgumentParser()
parser.add_argument("--data_url", required=True)
parser.add_argument("--train_url", required=True)
parser.add_argument("--epochs", type=int, default=20)
options = parser.parse_args()
data, output = Path(options.data_url), Path(options.train_url)

keras.utils.set_random_seed(1)
base = keras.models.load_model(data / "base.keras")
side = base.input_shape[1]
(few, _), (others, _) = (
    picture_folders.read(data / name, height=side, width=side, validation=0)
    for name in ("train", "test")
)
classes = few.classes
train = few.dataset(16, shuffle_seed=1).cache().shuffle(100)
test = others.dataset(100).cache()


def classifier(network, training=None):
    """Return the network with a new last layer.

    With training=False its normalization layers, if it has any, keep what they know of many
    pictures, also while the others learn.
    """
    inputs = keras.Input([side, side, 3])
    features = keras.layers.Dropout(0.2)(network(inputs, training=training))
    return keras.Model(inputs, keras.layers.Dense(len(classes), activation="softmax")(features))


def fit(model, learning_rate, name):
    optimizer = keras.optimizers.Adam(learning_rate)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    board = keras.callbacks.TensorBoard(output / name)
    model.fit(train, validation_data=test, epochs=options.epochs, callbacks=[board], verbose=2)
    return model.evaluate(test, verbose=0)


# The same network without what it knows, to compare with.
_, from_scratch = fit(classifier(keras.models.clone_model(base)), 0.001, "from_scratch")

model = classifier(base, training=False)
base.trainable = False
_, frozen = fit(model, 0.01, "frozen")
base.trainable = True
loss, accuracy = fit(model, 0.0001, "fine_tuned")

metrics = {
    "loss": loss,
    "accuracy": accuracy,
    "accuracy_frozen": frozen,
    "accuracy_from_scratch": from_scratch,
}
(output / "metrics.json").write_text(json.dumps(metrics))


@tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
def serving_default(image_bytes):
    # Decoded as the reader does it, so photos are turned upright and any format is read.
    ranked = tf.math.top_k(model(decode_pictures(image_bytes, side, side)), k=len(classes))
    return {"labels": tf.gather(classes, ranked.indices), "confidences": ranked.values}


archive = keras.export.ExportArchive()
archive.track(model)
archive.add_endpoint("serving_default", serving_default)
archive.write_out(output / "model")
