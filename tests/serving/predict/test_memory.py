"""What inputs will take in a model, known before it is taken."""

from __future__ import annotations

import ast
import io
import re

import numpy as np
import pytest
from PIL import Image

from serving.predict import memory
from serving.predict.memory import input_bytes, picture_bytes
from tests.serving_fixtures import ROOT

WIDTH, HEIGHT = 301, 203
PIXELS = WIDTH * HEIGHT


def picture(kind: str, mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (WIDTH, HEIGHT)).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "channels"),
    [
        (picture("PNG"), 3),
        (picture("PNG", "RGBA"), 4),
        (picture("PNG", "L"), 1),
        (picture("PNG", "P"), 3),
        (picture("PNG", "I;16"), 2),
        (picture("JPEG"), 3),
        (picture("JPEG", "L"), 3),
        (picture("JPEG", progressive=True), 3),
        (picture("JPEG", exif=b"Exif\0\0" + b"x" * 60_000, icc_profile=b"y" * 100_000), 3),
        (picture("JPEG", "CMYK"), 4),
        (picture("GIF", "P"), 3),
        (picture("BMP"), 3),
        (picture("WEBP"), 4),
        (picture("WEBP", lossless=True), 4),
        (picture("WEBP", exif=b"Exif\0\0MM"), 4),
    ],
)
def test_a_picture_takes_what_its_header_announces(data: bytes, channels: int) -> None:
    assert picture_bytes(data) == PIXELS * channels * 5, "as bytes, and as float32"


def of_size(data: bytes, width: int, height: int) -> bytes:
    """Return a JPEG that announces another size."""
    sizes = HEIGHT.to_bytes(2, "big") + WIDTH.to_bytes(2, "big")
    assert data.count(sizes) == 1
    return data.replace(sizes, height.to_bytes(2, "big") + width.to_bytes(2, "big"))


@pytest.mark.parametrize(
    ("width", "height", "ratio"),
    [(5000, 5000, 1), (5001, 5000, 2), (10_000, 10_000, 2), (10_001, 10_000, 8)],
)
def test_a_photo_takes_what_a_model_decodes_of_it(width: int, height: int, ratio: int) -> None:
    """Symptom: a photo of 48 million pixels was refused by a pod that has room for a quarter."""
    pixels = width * height
    photo = of_size(picture("JPEG"), width, height)
    assert picture_bytes(photo) == pixels * 15
    assert picture_bytes(photo, shrinks_jpeg=True) == pixels // ratio**2 * 15
    photo = of_size(picture("JPEG", progressive=True), width, height)
    kept = pixels * 3 if ratio > 1 else 0
    assert picture_bytes(photo, shrinks_jpeg=True) == pixels // ratio**2 * 15 + kept
    [texts] = [np.array([photo], object)]
    small, whole = (input_bytes({"x": texts}, shrinks_jpeg=shrinks) for shrinks in (True, False))
    assert (small < whole) == (ratio > 1)


def test_a_photo_is_decoded_as_the_library_for_graphs_does_it() -> None:
    library = (ROOT / "training" / "formats" / "jpeg.py").read_text()
    for name in ("_MOST_PIXELS", "_RATIOS", "_PROGRESSIVE_BYTES"):
        value = re.search(rf"^{name} = (.+)$", library, re.MULTILINE)
        assert value and ast.literal_eval(value[1]) == getattr(memory, name)


def test_a_bitmap_may_be_upside_down() -> None:
    data = bytearray(picture("BMP"))
    data[22:26] = (-HEIGHT).to_bytes(4, "little", signed=True)
    assert picture_bytes(bytes(data)) == PIXELS * 3 * 5


def test_all_pictures_of_an_animation_count() -> None:
    file = io.BytesIO()
    frames = [Image.new("RGB", (WIDTH, HEIGHT), (60 * number, 0, 0)) for number in range(4)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=50)
    assert picture_bytes(file.getvalue()) == 4 * PIXELS * 3 * 5


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_pictures_that_are_cut_off_are_no_surprise(kind: str) -> None:
    data = picture(kind)
    for end in range(200):
        assert 0 <= picture_bytes(data[:end]) <= PIXELS * 4 * 5 * 2


def test_what_is_no_picture_takes_nothing_more() -> None:
    assert picture_bytes(b"text " * 100) == 0
    assert picture_bytes(b"") == 0
    assert picture_bytes(b"\xff\xd8\xff" + b"\0" * 100) == 0


def test_inputs_count_with_their_texts_and_pictures() -> None:
    png = picture("PNG")
    texts = np.array([b"abc", png], object)
    inputs = {"x": np.zeros((5, 2), np.float32), "texts": texts}
    assert input_bytes(inputs) == 40 + 2 * 24 + 3 + len(png) + PIXELS * 15


def test_one_value_for_a_shape_counts_as_all_of_it() -> None:
    assert input_bytes({"x": np.broadcast_to(np.float64(1), (1000, 1000))}) == 8_000_000
    png = np.array(picture("PNG"), object)
    once = input_bytes({"x": png})
    assert input_bytes({"x": np.broadcast_to(png, (1000, 1000))}) == once * 1_000_000
