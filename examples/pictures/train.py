"""Tell pictures apart: a folder of PNG or JPEG files for each class."""

import argparse
import json
from pathlib import Path

import keras
import tensorflow as tf

from training.export import export_model

SIZE = (64, 64)

parser = argparse.ArgumentParser()
parser.add_argument("--data_url", required=True)
parser.add_argument("--train_url", required=True)
parser.add_argument("--epochs", type=int, default=12)
options = parser.parse_args()
output = Path(options.train_url)

keras.utils.set_random_seed(1)
train, held_out = keras.utils.image_dataset_from_directory(
    options.data_url, validation_split=0.2, subset="both", seed=1, image_size=SIZE, batch_size=32
)
classes = train.class_names

model = keras.Sequential(
    [
        keras.Input([*SIZE, 3]),
        keras.layers.RandomFlip(),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
        keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
        keras.layers.Conv2D(64, 3, activation="relu"),
        keras.layers.GlobalMaxPooling2D(),
        keras.layers.Dense(len(classes), activation="softmax"),
    ]
)
model.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy", metrics=["accuracy"])
board = keras.callbacks.TensorBoard(output)
model.fit(train.cache(), validation_data=held_out.cache(), epochs=options.epochs, callbacks=[board])


@tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
def serving_default(image_bytes):
    def decode(file):
        picture = tf.io.decode_image(file, channels=3, expand_animations=False)
        return tf.image.resize(picture, SIZE)  # as image_dataset_from_directory does

    pictures = tf.map_fn(decode, image_bytes, fn_output_signature=tf.float32)
    probabilities = model(pictures)
    return {
        "labels": tf.gather(classes, tf.argmax(probabilities, axis=-1)),
        "probabilities": probabilities,
    }


about = {
    "title": "Which shape is it?",
    "inputs": {"image_bytes": {"description": "A picture with one shape in it"}},
    "outputs": {"probabilities": {"labels": classes}},
}
export_model(output, model, {"serving_default": serving_default}, about=about)

loss, accuracy = model.evaluate(held_out)
(output / "metrics.json").write_text(json.dumps({"loss": loss, "accuracy": accuracy}))
