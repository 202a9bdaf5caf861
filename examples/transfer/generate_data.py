"""Draw few pictures of signs, and train a network on many pictures of letters beforehand.

`train/` and `test/` have a folder for each sign. `base.keras` is the network, as one that you would
download: it knows letters and none of the signs.
"""

import argparse
import random
import string
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SIDE = 48  # pixels
SIGNS = {"ampersand": "&", "at": "@", "dollar": "$", "percent": "%", "question": "?", "two": "2"}
LETTERS = string.ascii_uppercase


def picture(chance, character):
    """Return a picture of a character in any colours, size, place and slant."""
    light, dark = ([chance.randint(*span) for _ in "rgb"] for span in ((150, 255), (0, 105)))
    paper, ink = chance.sample([tuple(light), tuple(dark)], 2)
    drawn = Image.new("RGB", (SIDE, SIDE), paper)
    place = [SIDE / 2 + chance.uniform(-5, 5) for _ in "xy"]
    font = ImageFont.load_default(chance.randint(24, 38))
    ImageDraw.Draw(drawn).text(place, character, fill=ink, font=font, anchor="mm")
    return drawn.rotate(chance.uniform(-25, 25), Image.Resampling.BILINEAR, fillcolor=paper)


def write(chance, folder, each):
    for name, sign in SIGNS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            picture(chance, sign).save(folder / name / f"{number:03}.png")


def train_base(chance, file):
    """Train a network that tells letters apart."""
    import keras
    import numpy as np

    drawn = [picture(chance, letter) for _ in range(200) for letter in LETTERS]
    pictures = np.stack([np.asarray(one, "uint8") for one in drawn])
    labels = np.tile(np.arange(len(LETTERS)), 200)
    layers = keras.layers
    keras.utils.set_random_seed(1)
    base = keras.Sequential(
        [
            keras.Input([SIDE, SIDE, 3]),
            layers.Rescaling(1 / 127.5, -1),
            layers.Conv2D(24, 3, strides=2, activation="relu"),
            layers.Conv2D(48, 3, strides=2, activation="relu"),
            layers.Conv2D(96, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
        ],
        name="letters",
    )
    head = keras.Sequential([base, layers.Dropout(0.3), layers.Dense(len(LETTERS), "softmax")])
    head.compile(
        keras.optimizers.Adam(0.002), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    head.fit(pictures, labels, batch_size=64, epochs=8, verbose=2)
    base.save(file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target_dir", type=Path, required=True)
    parser.add_argument("--each", type=int, default=8, help="pictures of each sign to train on")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    write(chance, options.target_dir / "train", options.each)
    write(chance, options.target_dir / "test", 50)
    train_base(chance, options.target_dir / "base.keras")
    print(f"pictures of {', '.join(SIGNS)} and base.keras are in {options.target_dir}")
