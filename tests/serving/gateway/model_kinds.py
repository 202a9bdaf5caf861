"""Models of every kind that the page asks, for its tests.

`python3 -m tests.serving.gateway.model_kinds FOLDER` exports each to `FOLDER/<name>/<version>`.
TensorFlow is imported in that process alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
VERSION = 3
KINDS = (
    *("digits", "colours", "ranged", "houses", "messages", "segments", "sundry", "examples"),
    *("hostile", "nonsense"),
)

DIGITS_ABOUT = {
    "title": "Which digit is it?",
    "inputs": {"image_bytes": {"description": "A picture with one digit.", "drawing": True}},
}
HOUSES_ABOUT = {
    "title": "What is a house worth?",
    "inputs": {
        "area": {"description": "Living area, without the cellar.", "unit": "m²", "example": 120.5},
        "rooms": {"example": 4},
        "district": {"choices": ["harbour", "hill", "old town"]},
        "garden": {"description": "Whether there is one."},
    },
    "outputs": {"price": {"unit": "k€", "description": "Expected price."}},
}
RANGED_ABOUT = {
    "inputs": {"pictures": {"range": [0, 255]}},
    "outputs": {"output_0": {"labels": ["red", "green", "blue"]}},
}


def markup(place: str) -> str:
    """Return a text that runs a script where a page takes texts for HTML."""
    return f"""<img src=x onerror="hacked('{place}')">\"'><svg onload=hacked('{place}')>{place}"""


HOSTILE_SIGNATURE = markup("signature")
HOSTILE_INPUT = markup("input")
HOSTILE_OUTPUT = markup("output")
HOSTILE_ABOUT = {
    "title": markup("title"),
    "inputs": {
        HOSTILE_INPUT: {
            "description": markup("description"),
            "unit": "javascript:hacked('unit')",
            "choices": [markup("choice"), "javascript:hacked('choice')"],
            "example": markup("choice"),
        },
        # Names of what every object in JavaScript has.
        "constructor": {"description": markup("constructor"), "example": markup("example")},
    },
    "outputs": {
        "probabilities": {"labels": [markup("first"), "javascript:hacked('second')"]},
        HOSTILE_OUTPUT: {"description": markup("told"), "unit": markup("unit")},
    },
}
NONSENSE_ABOUT = {
    "title": {"an": "object"},
    "inputs": {
        "x": {"description": 7, "unit": ["k"], "choices": "some", "example": {"b64": 5}},
        "image_bytes": {"drawing": "no", "description": None, "range": [5]},
        "pixels": {"range": [255, "0"], "drawing": 1},
        "text": None,
    },
    "outputs": {
        "probabilities": {"labels": "abc", "description": {}},
        "price": {"labels": [1, None, {}], "unit": {"k": 1}},
    },
}


def export(folder: Path) -> None:
    """Export all kinds below a folder, in a process of its own."""
    command = [sys.executable, "-m", "tests.serving.gateway.model_kinds", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"Exporting failed:\n{done.stderr[-4000:]}")


def config(folder: Path) -> Path:
    """Return the server's configuration file for all of them."""
    entries = "".join(
        f'  config {{ name: "{kind}" base_path: "{folder / kind}" model_platform: "tensorflow" }}\n'
        for kind in KINDS
    )
    path = folder / "models.config"
    path.write_text(f"model_config_list {{\n{entries}}}\n")
    return path


def _main(folder: Path) -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import tensorflow as tf

    def spec(shape: list[int | None], dtype: Any, name: str) -> Any:
        return tf.TensorSpec(shape, dtype, name)

    def signature(*specs: Any) -> Any:
        return tf.function(input_signature=specs, autograph=False)

    def about(said: Mapping[str, Any]) -> Any:
        text = json.dumps(said)

        @signature(spec([None], tf.string, "question"))
        def asked(question):  # type: ignore[no-untyped-def]
            return {"json": tf.fill(tf.shape(question), text)}

        return asked

    def save(name: str, model: Any = None, **signatures: Any) -> None:
        path = str(folder / name / str(VERSION))
        tf.saved_model.save(model or tf.Module(), path, signatures=signatures)

    _save_digits(tf, spec, signature, save, about)
    _save_colours(tf, keras, folder, spec, signature, save, about)
    _save_houses(tf, spec, signature, save, about)
    _save_messages(tf, spec, signature, save)
    _save_segments(tf, spec, signature, save)
    _save_sundry(tf, spec, signature, save)
    _save_hostile(tf, folder, spec, signature, save, about)
    _save_nonsense(tf, spec, signature, save, about)
    from tests.serving_fixtures import _save_examples_model

    _save_examples_model(tf, str(folder / "examples" / str(VERSION)))


def _save_digits(tf, spec, signature, save, about):  # type: ignore[no-untyped-def]
    """Which of ten equal bands of rows has the most ink; blank paper is refused."""

    def both(pictures):  # type: ignore[no-untyped-def]
        bands = tf.reshape(pictures[:, :780], [-1, 10, 78])
        logits = tf.reduce_mean(bands, 2) * 8.0
        return {"predictions": tf.argmax(logits, 1), "probabilities": tf.nn.softmax(logits)}

    @signature(spec([None, 784], tf.float32, "images"))
    def serving_default(images):  # type: ignore[no-untyped-def]
        return both(images)

    def decode(encoded):  # type: ignore[no-untyped-def]
        picture = tf.io.decode_image(encoded, channels=1, expand_animations=False)
        blank = tf.debugging.assert_greater(
            tf.reduce_max(picture), tf.constant(10, tf.uint8), "The picture is empty."
        )
        with tf.control_dependencies([blank]):
            scaled = tf.image.resize(picture, [28, 28], antialias=True) / 255.0
        return tf.reshape(scaled, [784])

    @signature(spec([None], tf.string, "image_bytes"))
    def image_bytes(image_bytes):  # type: ignore[no-untyped-def]
        each = tf.TensorSpec([784], tf.float32)
        return both(tf.map_fn(decode, image_bytes, fn_output_signature=each))

    save(
        "digits",
        serving_default=serving_default,
        image_bytes=image_bytes,
        about=about(DIGITS_ABOUT),
    )


def _save_colours(tf, keras, folder, spec, signature, save, about):  # type: ignore[no-untyped-def]
    """Which of red, green and blue is strongest, as Keras' tutorials save a picture classifier."""

    def classifier():  # type: ignore[no-untyped-def]
        model = keras.Sequential(
            [
                keras.Input([24, 32, 3], name="pictures"),
                keras.layers.Rescaling(1 / 255),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dense(3, activation="softmax"),
            ]
        )
        model.layers[-1].set_weights([20 * tf.eye(3).numpy(), tf.zeros([3]).numpy()])
        return model

    classifier().export(str(folder / "colours" / str(VERSION)), verbose=False)
    model = classifier()
    archive = keras.export.ExportArchive()
    archive.track(model)
    pictures = spec([None, 24, 32, 3], tf.float32, "pictures")
    archive.add_endpoint(
        "serving_default", lambda pictures: {"output_0": model(pictures)}, [pictures]
    )
    archive.add_endpoint("about", about(RANGED_ABOUT))
    archive.write_out(str(folder / "ranged" / str(VERSION)), verbose=False)


def _save_houses(tf, spec, signature, save, about):  # type: ignore[no-untyped-def]
    """Numbers, a category and a truth value to a price."""
    holder = tf.Module()
    holder.table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(["harbour", "hill", "old town"], [1.5, 1.25, 1.0]), -1.0
    )

    @signature(
        spec([None], tf.float32, "area"),
        spec([None, 1], tf.int64, "rooms"),
        spec([None], tf.string, "district"),
        spec([None], tf.bool, "garden"),
    )
    def serving_default(area, rooms, district, garden):  # type: ignore[no-untyped-def]
        factor = holder.table.lookup(district)
        price = (area * 3.14159 + tf.cast(rooms[:, 0], tf.float32) * 10.0) * factor
        return {"price": tf.where(garden, price + 50.0, price)[:, None]}

    holder.serving = serving_default
    save("houses", holder, serving_default=serving_default, about=about(HOUSES_ABOUT))


def _save_messages(tf, spec, signature, save):  # type: ignore[no-untyped-def]
    """Texts to a label by name, as `examples/text` does."""

    @signature(spec([None], tf.string, "text"))
    def serving_default(text):  # type: ignore[no-untyped-def]
        late = tf.cast(tf.strings.regex_full_match(text, ".*parcel.*"), tf.float32)
        probabilities = tf.stack([0.9 * late + 0.04, 0.06 + 0.0 * late, 0.9 - 0.9 * late], 1)
        best = tf.argmax(probabilities, 1)
        names = tf.constant(["delivery", "praise", "other"])
        return {
            "predictions": best,
            "labels": tf.gather(names, best),
            "probabilities": probabilities,
        }

    save("messages", serving_default=serving_default)


def _save_segments(tf, spec, signature, save):  # type: ignore[no-untyped-def]
    """A class for each pixel, the picture in grey, and the picture as a PNG."""

    @signature(spec([None, 48, 64, 3], tf.uint8, "photo"))
    def serving_default(photo):  # type: ignore[no-untyped-def]
        floats = tf.cast(photo, tf.float32) / 255.0
        background = tf.fill(tf.shape(floats[..., :1]), 0.3)
        grey = tf.image.rgb_to_grayscale(floats)
        png = tf.map_fn(tf.io.encode_png, photo, fn_output_signature=tf.TensorSpec([], tf.string))
        return {
            "classes": tf.concat([background, floats, background * 0.1], 3),
            "grey": grey,
            "picture_bytes": png,
        }

    save("segments", serving_default=serving_default)


def _save_sundry(tf, spec, signature, save):  # type: ignore[no-untyped-def]
    """What else there is: vectors, scalars, whole numbers, NaN, much data, a slow one."""

    @signature(spec([None, 2], tf.float32, "a"), spec([None, 2], tf.float32, "b"))
    def add(a, b):  # type: ignore[no-untyped-def]
        return {"sum": a + b, "difference": a - b}

    @signature(spec([None], tf.float32, "x"), spec([], tf.float32, "factor"))
    def scale(x, factor):  # type: ignore[no-untyped-def]
        return {"scaled": x * factor, "mean": tf.reduce_mean(x)}

    @signature(spec([None], tf.int64, "number"))
    def next_number(number):  # type: ignore[no-untyped-def]
        return {"next": number + 1}

    @signature(spec([None], tf.float32, "x"))
    def odd(x):  # type: ignore[no-untyped-def]
        return {"quotient": x / 0.0, "root": tf.sqrt(x)}

    @signature(spec([None], tf.float32, "x"))
    def much(x):  # type: ignore[no-untyped-def]
        return {"wide": tf.tile(x[:, None], [1, 20000]), "labels": tf.cast(x, tf.int32)}

    @signature(spec([None, 3, 2, 2], tf.float32, "block"))
    def blocks(block):  # type: ignore[no-untyped-def]
        return {"doubled": block * 2}

    @signature(spec([None], tf.int32, "steps"))
    def slow(steps):  # type: ignore[no-untyped-def]
        limit = tf.reduce_max(steps)

        def turn(i, m):  # type: ignore[no-untyped-def]
            return i + 1, tf.matmul(m, m) / 200.0

        ones = tf.ones([200, 200])
        done, m = tf.while_loop(lambda i, _: i < limit, turn, (tf.constant(0), ones))
        return {"done": tf.fill(tf.shape(steps), done) + tf.cast(m[0, 0], tf.int32) - 1}

    @signature(spec([None, 4], tf.float32, "x"))
    def guess(x):  # type: ignore[no-untyped-def]
        classes = tf.argmax(x, 1, output_type=tf.int32)
        return {"labels": classes, "confidences": tf.reduce_max(tf.nn.softmax(x), 1)}

    @signature(spec([None, None, None, 3], tf.float32, "photo"))
    def sizes(photo):  # type: ignore[no-untyped-def]
        return {"size": tf.tile(tf.shape(photo)[None, 1:3], [tf.shape(photo)[0], 1])}

    @signature(spec([None], tf.string, "sound_bytes"))
    def sound(sound_bytes):  # type: ignore[no-untyped-def]
        return {"length": tf.strings.length(sound_bytes)}

    save(
        "sundry",
        sizes=sizes,
        sound=sound,
        add=add,
        scale=scale,
        next_number=next_number,
        odd=odd,
        much=much,
        blocks=blocks,
        slow=slow,
        guess=guess,
    )


def _save_hostile(tf, folder, spec, signature, save, about):  # type: ignore[no-untyped-def]
    """Every name and every text is markup; it answers and refuses with markup."""

    @signature(spec([None], tf.string, "text"), spec([None], tf.string, "constructor"))
    def serving_default(text, constructor):  # type: ignore[no-untyped-def]
        fine = tf.debugging.Assert(
            tf.reduce_all(tf.not_equal(constructor, "refuse")), [markup("refusal")]
        )
        with tf.control_dependencies([fine]):
            rows = tf.shape(text)
        return {
            "told": tf.strings.join([text, constructor]),
            "probabilities": tf.tile([[0.75, 0.25]], [rows[0], 1]),
            "data_bytes": tf.fill(rows, "<svg xmlns='http://www.w3.org/2000/svg' onload='x()'/>"),
            "__proto__": tf.fill(rows, markup("proto")),
        }

    save("hostile", serving_default=serving_default, about=about(HOSTILE_ABOUT))
    path = folder / "hostile" / str(VERSION) / "saved_model.pb"
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    defined = saved.meta_graphs[0].signature_def
    given = defined[HOSTILE_SIGNATURE]
    given.CopyFrom(defined["serving_default"])
    del defined["serving_default"]
    for tensors, alias, wanted in (
        (given.inputs, "text", HOSTILE_INPUT),
        (given.outputs, "told", HOSTILE_OUTPUT),
    ):
        tensors[wanted].CopyFrom(tensors[alias])
        del tensors[alias]
    path.write_bytes(saved.SerializeToString())


def _save_nonsense(tf, spec, signature, save, about):  # type: ignore[no-untyped-def]
    """What it says of itself is of other kinds than the contract's."""

    @signature(spec([None], tf.float32, "x"), spec([None], tf.string, "text"))
    def serving_default(x, text):  # type: ignore[no-untyped-def]
        return {"price": tf.cast(x, tf.int32), "probabilities": tf.stack([x, 1.0 - x, 0.0 * x], 1)}

    @signature(spec([None], tf.string, "image_bytes"))
    def files(image_bytes):  # type: ignore[no-untyped-def]
        return {"price": tf.strings.length(image_bytes)}

    @signature(spec([None, 16, 16, 3], tf.float32, "pixels"))
    def pictures(pixels):  # type: ignore[no-untyped-def]
        return {"price": tf.reduce_mean(pixels, [1, 2, 3])}

    save(
        "nonsense",
        serving_default=serving_default,
        files=files,
        pictures=pictures,
        about=about(NONSENSE_ABOUT),
    )


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
