"""Models as people make them, for `export_model`: see `CASES`.

Each case returns what is exported, the signature, and an input that both sides are asked with.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from training.quiet_tensorflow import tf

layers = tf.keras.layers
Case = tuple[Any, Any, list[Any]]
CASES: dict[str, Callable[[], Case]] = {}
ROWS = np.float32([[1, 2, 3], [4, 5, 6]])


def _case(function: Callable[[], Case]) -> Callable[[], Case]:
    CASES[function.__name__] = function
    return function


def signature(model: Any, shape: list[int | None], dtype: Any = tf.float32) -> Any:
    @tf.function(input_signature=[tf.TensorSpec(shape, dtype, name="x")], autograph=False)
    def serving_default(x: Any) -> Any:
        return {"y": model(x)}

    return serving_default


def _of(*parts: Any, shape: tuple[int | None, ...] = (None, 3)) -> Any:
    model = tf.keras.Sequential([tf.keras.Input(shape[1:], batch_size=shape[0]), *parts])
    return model, signature(model, list(shape))


class _Scale(tf.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.factor = tf.Variable(3.0)


def _table() -> Any:
    filled = tf.lookup.KeyValueTensorInitializer([0, 1], [5.0, 6.0], tf.int32, tf.float32)
    return tf.lookup.StaticHashTable(filled, -1.0)


@_case
def recurrent() -> Case:
    steps = np.ones([2, 5, 3], np.float32)
    return *_of(layers.LSTM(4), shape=(None, None, 3)), [steps]


@_case
def with_a_state_from_call_to_call() -> Case:
    steps = np.zeros([2, 5, 3], np.float32)
    return *_of(layers.LSTM(4, stateful=True), shape=(2, 5, 3)), [steps]


@_case
def not_built_before() -> Case:
    model = tf.keras.Sequential([layers.Dense(2, kernel_initializer="ones")])
    return model, signature(model, [None, 3]), [ROWS]


@_case
def subclassed_with_variables_lists_and_a_table() -> Case:
    class Model(tf.keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.parts = [layers.Dense(2), layers.Dense(1)]
            self.scale = tf.Variable(2.0)
            self.table = _table()

        def call(self, x: Any) -> Any:
            for part in self.parts:
                x = part(x)
            return x * self.scale + self.table.lookup(tf.zeros([1], tf.int32))

    model = Model()
    return model, signature(model, [None, 3]), [ROWS]


@_case
def a_layer_that_holds_a_module() -> Case:
    class Scaled(layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = _Scale()

        def call(self, x: Any) -> Any:
            return x * self.inner.factor

    return *_of(Scaled()), [ROWS]


@_case
def a_layer_with_a_random_generator() -> Case:
    class Noisy(layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.generator = tf.random.Generator.from_seed(1)

        def call(self, x: Any) -> Any:
            return x + 0 * self.generator.normal([1])

    return *_of(Noisy()), [ROWS]


@_case
def layers_that_draw_random_numbers() -> Case:
    parts = layers.RandomFlip(), layers.RandomRotation(0.1), layers.Flatten(), layers.Dropout(0.5)
    return *_of(*parts, shape=(None, 8, 8, 3)), [np.ones([2, 8, 8, 3], np.float32)]


@_case
def normalization_and_categories() -> Case:
    normalize = layers.Normalization()
    normalize.adapt(ROWS)
    return *_of(normalize, layers.Discretization([-0.5, 0.5]), layers.CategoryEncoding(3)), [ROWS]


@_case
def hashing() -> Case:
    texts = tf.keras.Input([1], dtype="string")
    model = tf.keras.Model(texts, layers.HashedCrossing(5)((texts, texts)))
    return model, signature(model, [None, 1], tf.string), [[["a"], ["b"]]]


@_case
def a_feature_space() -> Case:
    """It is no Keras layer and no module."""
    kinds = {"x": "float_normalized", "c": tf.keras.utils.FeatureSpace.string_categorical()}
    space = tf.keras.utils.FeatureSpace(features=kinds, output_mode="concat")
    space.adapt(tf.data.Dataset.from_tensor_slices({"x": [1.0, 2.0], "c": ["a", "b"]}))

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, name="x"),
            tf.TensorSpec([None], tf.string, name="c"),
        ]
    )
    def serving_default(x: Any, c: Any) -> Any:
        return {"y": space({"x": x[:, None], "c": c[:, None]})}

    return space, serving_default, [[1.0, 2.0], ["a", "z"]]


@_case
def layers_beside_the_model_that_nobody_named() -> Case:
    lookup, dense = layers.StringLookup(vocabulary=["a"]), layers.Dense(1)
    model, _ = _of(layers.Dense(1), shape=(None, 1))
    dense.build([None, 1])

    def both(x: Any) -> Any:
        number = tf.cast(lookup(x), tf.float32)[:, None]
        return model(number) + dense(number)

    return model, signature(both, [None], tf.string), [["a", "b"]]


@_case
def a_list_of_all_that_tensorflow_keeps() -> Case:
    scale, table, variable = _Scale(), _table(), tf.Variable(2.0)
    model, _ = _of(layers.Dense(1))

    def all_of_it(x: Any) -> Any:
        return model(x) * scale.factor + table.lookup(tf.zeros([1], tf.int32)) + variable

    return [model, scale, table, variable], signature(all_of_it, [None, 3]), [ROWS]


@_case
def a_module_that_holds_a_keras_model() -> Case:
    """Symptom: "Could not find variable" in every session."""
    module = tf.Module()
    module.model, served = _of(layers.Dense(1))
    return module, served, [ROWS]


@_case
def a_module_with_a_lookup_layer() -> Case:
    module = tf.Module()
    module.lookup = layers.StringLookup(vocabulary=["a"])
    return module, signature(module.lookup, [None], tf.string), [["a", "b"]]
