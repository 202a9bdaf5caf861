"""Sort short messages by topic."""

import argparse
import json
from pathlib import Path

import keras
import pandas as pd
import tensorflow as tf

from training.export import export_model

parser = argparse.ArgumentParser()
parser.add_argument("--data_url", required=True)
parser.add_argument("--train_url", required=True)
parser.add_argument("--epochs", type=int, default=6)
options = parser.parse_args()
data, output = Path(options.data_url), Path(options.train_url)

keras.utils.set_random_seed(1)
train = pd.read_json(data / "train.jsonl", lines=True)
test = pd.read_json(data / "test.jsonl", lines=True)
classes = sorted(train["label"].unique())


def texts_and_labels(table):
    return tf.constant(table["text"].to_list()), table["label"].map(classes.index).to_numpy()


vectorize = keras.layers.TextVectorization(max_tokens=5000, ngrams=2, output_sequence_length=128)
vectorize.adapt(train["text"].to_list())
model = keras.Sequential(
    [
        keras.Input([], dtype="string"),
        vectorize,
        keras.layers.Embedding(vectorize.vocabulary_size(), 32, mask_zero=True),
        keras.layers.GlobalAveragePooling1D(),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(len(classes), activation="softmax"),
    ]
)
model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(
    *texts_and_labels(train),
    validation_data=texts_and_labels(test),
    batch_size=64,
    epochs=options.epochs,
    callbacks=[keras.callbacks.TensorBoard(output)],
    verbose=2,
)
loss, accuracy = model.evaluate(*texts_and_labels(test), verbose=0)
(output / "metrics.json").write_text(json.dumps({"loss": loss, "accuracy": accuracy}))


@tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
def serving_default(text):
    probabilities = model(text)
    predictions = tf.argmax(probabilities, axis=-1)
    return {
        "predictions": predictions,
        "labels": tf.gather(classes, predictions),
        "probabilities": probabilities,
    }


about = {
    "title": "Topics of messages",
    "inputs": {"text": {"example": "Where is my parcel? It should be here."}},
    "outputs": {"predictions": {"labels": classes}, "probabilities": {"labels": classes}},
}
export_model(output, model, {"serving_default": serving_default}, about=about)
