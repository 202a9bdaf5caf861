"""Draw coloured shapes, a folder for each kind: a small stand-in for photos of your own."""

import argparse
import math
import random
from pathlib import Path

from PIL import Image, ImageDraw


def polygon(corners, inner=1.0):
    """Return the corners of a regular polygon; with `inner` below 1, of a star."""
    points = []
    for number in range(corners * (1 if inner == 1 else 2)):
        radius = inner if number % 2 and inner != 1 else 1
        turn = 2 * math.pi * number / (corners * (1 if inner == 1 else 2))
        points.append((radius * math.sin(turn), -radius * math.cos(turn)))
    return points


SHAPES = {
    "circle": polygon(48),
    "square": polygon(4),
    "star": polygon(5, inner=0.4),
    "triangle": polygon(3),
}


def colour(chance, low, high):
    return tuple(chance.randint(low, high) for _ in range(3))


def picture(chance, points):
    """Return a picture of any size with the shape somewhere in it: any colour, size and turn."""
    width, height = chance.randint(80, 240), chance.randint(80, 240)
    dark = chance.random() < 0.5
    paper, ink = ((0, 90), (140, 255)) if dark else ((165, 255), (0, 110))
    drawn = Image.new("RGB", (width, height), colour(chance, *paper))
    radius = min(width, height) * chance.uniform(0.25, 0.45)
    middle = [chance.uniform(radius, side - radius) for side in (width, height)]
    turn = chance.uniform(0, 2 * math.pi)
    sine, cosine = math.sin(turn), math.cos(turn)
    ImageDraw.Draw(drawn).polygon(
        [
            (
                middle[0] + radius * (x * cosine - y * sine),
                middle[1] + radius * (x * sine + y * cosine),
            )
            for x, y in points
        ],
        fill=colour(chance, *ink),
    )
    return drawn


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--target_dir", type=Path, required=True)
parser.add_argument("--each", type=int, default=250, help="pictures of each kind")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()
chance = random.Random(options.seed)
for kind, points in SHAPES.items():
    folder = options.target_dir / kind
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(options.each):
        ending = "jpg" if number % 2 else "png"
        picture(chance, points).save(folder / f"{kind}-{number:03}.{ending}")
print(f"{options.each} pictures of each of {', '.join(SHAPES)} are in {options.target_dir}")
