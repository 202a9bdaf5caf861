"""Tell the price of a house from a row of a table: numbers, categories, yes and no."""

import argparse
import json
from pathlib import Path

import keras
import pandas as pd
import tensorflow as tf

from training.export import export_model

NUMBERS = ["area", "rooms", "year"]
CATEGORIES = ["district", "heating"]

parser = argparse.ArgumentParser()
parser.add_argument("--data_url", required=True)
parser.add_argument("--train_url", required=True)
parser.add_argument("--epochs", type=int, default=20)
options = parser.parse_args()
output = Path(options.train_url)

keras.utils.set_random_seed(1)
houses = pd.read_csv(Path(options.data_url) / "houses.csv").dropna()
test = houses.sample(frac=0.2, random_state=1)
train = houses.drop(test.index)


def columns(table):
    inputs = {name: table[name].to_numpy("float32") for name in NUMBERS}
    inputs |= {name: tf.constant(table[name].to_list()) for name in CATEGORIES}
    return inputs | {"garden": table["garden"].to_numpy()}


# The preparation is part of the model, so whoever asks gives a row as it is in the table.
inputs, prepared = {}, []
for name in NUMBERS:
    inputs[name] = keras.Input([], name=name)
    normalization = keras.layers.Normalization(axis=None)
    normalization.adapt(train[name].to_numpy("float32"))
    prepared.append(keras.ops.expand_dims(normalization(inputs[name]), -1))
for name in CATEGORIES:
    inputs[name] = keras.Input([], name=name, dtype="string")
    vocabulary = sorted(train[name].unique())
    lookup = keras.layers.StringLookup(vocabulary=vocabulary, output_mode="one_hot")
    prepared.append(lookup(inputs[name]))
inputs["garden"] = keras.Input([], name="garden", dtype="bool")
prepared.append(keras.ops.expand_dims(keras.ops.cast(inputs["garden"], "float32"), -1))

hidden = keras.layers.Dense(32, activation="relu")(keras.layers.Concatenate()(prepared))
hidden = keras.layers.Dense(32, activation="relu")(hidden)
scale = keras.layers.Rescaling(train["price"].std(), train["price"].mean())
price = scale(keras.layers.Dense(1)(hidden))
model = keras.Model(inputs, price)
model.compile(keras.optimizers.Adam(0.01), "mae", metrics=["mape"])
model.fit(
    columns(train),
    train["price"],
    validation_data=(columns(test), test["price"]),
    batch_size=64,
    epochs=options.epochs,
    callbacks=[keras.callbacks.TensorBoard(output)],
    verbose=2,
)

found = model.predict(columns(test), verbose=0)[:, 0]
errors = (found - test["price"]).abs().groupby(test["district"]).mean().round()
print(errors.rename("mean error").to_frame().to_markdown())  # it needs the package tabulate
mae, mape = model.evaluate(columns(test), test["price"], verbose=0)
(output / "metrics.json").write_text(json.dumps({"mae": mae, "mape": mape}))


@tf.function(
    input_signature=[
        {name: tf.TensorSpec([None], value.dtype, name=name) for name, value in inputs.items()}
    ]
)
def serving_default(row):
    return {"price": model(row)[:, 0]}


about = {
    "title": "What is a house worth?",
    "inputs": {
        "area": {"unit": "m²", "example": 120},
        "rooms": {"example": 4},
        "year": {"description": "When it was built", "example": 1980},
        **{name: {"choices": sorted(train[name].unique())} for name in CATEGORIES},
    },
    "outputs": {"price": {"unit": "€"}},
}
export_model(output, model, {"serving_default": serving_default}, about=about)
