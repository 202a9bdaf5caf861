"""A classifier of short texts: the mean of what it learned of each word and pair of words."""

from collections.abc import Mapping, Sequence
from typing import Any

from training.evaluation import classification_scalars
from training.quiet_tensorflow import tf
from training.run_settings import RunDefaults
from training.trainer import Model

DEFAULTS = RunDefaults(
    learning_rate=0.01, batch_size=64, epochs=8, log_every=20, checkpoint_every=200
)
MAX_WORDS = 64
"""Of a text; what follows is not read."""
# Words are numbered by a hash: no vocabulary to keep, and any language and any word has a number.
_BUCKETS = 2**13
_PADDING = 0
_EMBEDDING = 32


def encode(texts: "tf.Tensor") -> "tf.Tensor":
    """Return numbers of words and of pairs of neighbours: string [n] -> int32 [n, 2 * MAX_WORDS].

    Case and punctuation don't count. Rows are filled up with zeros.
    """
    plain = tf.strings.regex_replace(tf.strings.lower(texts, encoding="utf-8"), r"[^\pL\pN]+", " ")
    words = tf.strings.split(plain)[:, :MAX_WORDS]
    pairs = tf.strings.ngrams(words, 2)
    hashes = tf.strings.to_hash_bucket_fast(tf.concat([words, pairs], axis=1), _BUCKETS - 1)
    numbers = tf.cast(hashes, tf.int32) + 1
    return numbers.to_tensor(_PADDING, shape=[None, 2 * MAX_WORDS])


def text_model(classes: Sequence[str]) -> Model:
    """Make the model as the trainer takes it; its batches are encoded texts and labels."""
    embedding = tf.keras.layers.Embedding(_BUCKETS, _EMBEDDING)
    numbers = tf.keras.Input([2 * MAX_WORDS], dtype="int32")
    known = tf.keras.ops.cast(numbers != _PADDING, "float32")[:, :, None]
    count = tf.keras.ops.maximum(tf.keras.ops.sum(known, axis=1), 1.0)
    mean = tf.keras.ops.sum(embedding(numbers) * known, axis=1) / count
    dropped = tf.keras.layers.Dropout(0.3)(mean)
    network = tf.keras.Model(numbers, tf.keras.layers.Dense(len(classes))(dropped))

    def loss_fn(
        encoded: "tf.Tensor", labels: "tf.Tensor", training: bool
    ) -> "Mapping[str, tf.Tensor]":
        return classification_scalars(network(encoded, training=training), labels)

    return Model(
        module=network,
        loss_fn=loss_fn,
        signatures=_signatures(network, classes),
        about=_about(classes),
    )


def optimizer(learning_rate: Any) -> Any:
    """Return the optimizer that the defaults are for."""
    return tf.keras.optimizers.Adam(learning_rate)


def _signatures(network: Any, classes: Sequence[str]) -> dict[str, Any]:
    """Return signature name -> tf.function. Clients depend on every name here."""

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[tf.TensorSpec([None], tf.string, name="text")]
    )
    def classify(text: "tf.Tensor") -> "dict[str, tf.Tensor]":
        probabilities = tf.nn.softmax(tf.cast(network(encode(text)), tf.float32))
        predictions = tf.argmax(probabilities, axis=-1, output_type=tf.int64)
        return {
            "predictions": predictions,
            "labels": tf.gather(tf.constant(list(classes)), predictions),
            "probabilities": probabilities,
        }

    return {"predict_object": classify, "serving_default": classify}


def _about(classes: Sequence[str]) -> dict[str, Any]:
    """Return what the page and the client say of the model (docs/contracts.md)."""
    return {
        "title": "Topics of messages",
        "inputs": {
            "text": {
                "description": f"A short message; its first {MAX_WORDS} words count",
                "example": "Where is my parcel? It should be here.",
            }
        },
        "outputs": {
            "predictions": {"description": "The topic's number", "labels": list(classes)},
            "labels": {"description": "The topic"},
            "probabilities": {
                "description": "How sure the model is of each topic",
                "labels": list(classes),
            },
        },
    }
