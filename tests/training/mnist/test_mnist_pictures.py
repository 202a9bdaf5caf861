"""Pictures made like MNIST's: place, size and polarity must not matter."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.training.conftest import MNIST_CODE
from training.quiet_tensorflow import tf

SIDE = 28


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


Reader = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def read() -> Iterator[Reader]:
    """Picture files -> what the network gets of them, [n, 28, 28], 0..255."""
    with pytest.MonkeyPatch.context() as patch:
        # As the agent starts the boot file: the code folder first on the path.
        patch.syspath_prepend(str(MNIST_CODE))
        from mnist_pictures import read_digits  # type: ignore[import-not-found]

    graph = tf.function(read_digits, input_signature=[tf.TensorSpec([None], tf.string)])
    yield (
        lambda *files: (
            graph(tf.constant(files, tf.string, [len(files)])).numpy().reshape(-1, SIDE, SIDE) * 255
        )
    )


def seven(
    side: int = 280, at: tuple[int, int] = (40, 60), size: int = 150, ink: int = 255, paper: int = 0
) -> Image.Image:
    """Draw a 7 with its upper left corner at `at` and strokes an eighth of its size wide."""
    picture = Image.new("L", (side, side), paper)
    x, y = at
    points = [(x, y), (x + size * 2 // 3, y), (x + size // 4, y + size)]
    ImageDraw.Draw(picture).line(points, fill=ink, width=size // 8, joint="curve")
    return picture


def box(prepared: np.ndarray) -> tuple[int, int]:
    rows, columns = prepared.any(1).nonzero()[0], prepared.any(0).nonzero()[0]
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def centre(prepared: np.ndarray) -> tuple[float, float]:
    y, x = np.indices(prepared.shape)
    return (prepared * y).sum() / prepared.sum(), (prepared * x).sum() / prepared.sum()


@pytest.mark.parametrize(
    "picture",
    [
        seven(),
        seven(at=(5, 5), size=60),
        seven(at=(100, 120)),
        seven(ink=0, paper=255),
        seven(ink=30, paper=150),
        seven(side=1000, at=(300, 200), size=500),
        seven(side=28, at=(2, 3), size=22, ink=0, paper=255),
        seven(side=8000, at=(7500, 60), size=200, ink=0, paper=255),
    ],
    ids=["plain", "small", "corner", "black on white", "on grey", "large", "tiny", "8000x8000"],
)
def test_a_digit_is_twenty_pixels_high_and_centred_by_mass(
    picture: Image.Image, read: Reader
) -> None:
    (prepared,) = read(encoded(picture))
    assert max(box(prepared)) == 20
    assert np.allclose(centre(prepared), 13.5, atol=0.6)
    assert prepared.max() == 255
    assert not prepared[0].any(), "white on black"


def test_place_size_and_polarity_do_not_matter(read: Reader) -> None:
    expected, *others = read(
        *map(
            encoded,
            (seven(), seven(at=(90, 100)), seven(ink=0, paper=255), seven(560, (80, 120), 300)),
        )
    )
    for other in others:
        assert np.abs(other - expected).mean() < 6


def test_a_picture_that_is_mnist_already_keeps_its_pixels(read: Reader) -> None:
    digit = np.zeros((SIDE, SIDE), np.uint8)
    digit[5:24, 12:15] = 200
    digit[5, 10] = 17
    picture = Image.fromarray(digit)
    coloured, small, alone = picture.convert("RGB"), seven(at=(5, 5), size=60), encoded(picture)
    files = [alone, encoded(small), encoded(coloured), encoded(picture, "BMP"), alone]
    found = read(*files)
    for row in (0, 2, 3, 4):
        assert np.abs(found[row] - digit).max() < 0.01
    # In the midst of them, others are prepared as they are alone.
    assert np.abs(found[1] - read(files[1])[0]).max() < 0.01
    assert read().shape == (0, SIDE, SIDE)


def test_light_from_one_side_does_not_matter(read: Reader) -> None:
    """Paper in the shadow was darker than a fifth of the ink, and taken for ink."""
    ink = np.asarray(seven(2000, (300, 200), 900), np.float32) / 255
    light = 170 + np.linspace(-50, 50, 2000) + np.linspace(20, -20, 2000)[:, None]
    photo = Image.fromarray(np.uint8(light * (1 - 0.8 * ink)))
    found, expected = read(encoded(photo, "JPEG", quality=90), encoded(seven()))
    assert np.abs(found - expected).mean() < 8


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_usual_kinds_are_read(kind: str, read: Reader) -> None:
    (prepared,) = read(encoded(seven(ink=0, paper=255), kind))
    assert max(box(prepared)) == 20


def test_transparent_is_paper(read: Reader) -> None:
    alpha = seven()
    picture = Image.new("RGBA", alpha.size, "black")
    picture.putalpha(alpha)
    white = Image.new("RGBA", alpha.size, "white")
    white.putalpha(alpha)
    expected, *found = read(*map(encoded, (seven(ink=0, paper=255), picture, white)))
    assert all((one == expected).all() for one in found)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_photo_lies_as_its_exif_says(kind: str, read: Reader) -> None:
    turned = seven().transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # The camera was turned: show it turned clockwise.
    out = io.BytesIO()
    turned.save(out, kind, exif=exif)
    found, expected = read(out.getvalue(), encoded(seven()))
    assert np.abs(found - expected).mean() < 6


def test_a_phones_photo_of_12_mb_is_read(read: Reader) -> None:
    """Of 48 million pixels, with the noise of a sensor."""
    noise = np.random.default_rng(1).integers(0, 24, (6048, 8064)).astype(np.uint8)
    paper = seven(side=6048, at=(1000, 800), size=3000, ink=30, paper=180)
    photo = np.full((6048, 8064), 180, np.uint8)
    photo[:, :6048] = np.asarray(paper)
    file = encoded(Image.fromarray(photo + noise), "JPEG", quality=90)
    assert len(file) > 12_000_000
    found, expected = read(file, encoded(seven()))
    assert np.abs(found - expected).mean() < 8


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "it cannot be read as PNG"),
        (encoded(seven())[:200], "Invalid PNG data"),
        (encoded(Image.new("L", (280, 280))), "it is empty: nothing stands out from its backgr"),
        (encoded(Image.new("L", (28, 28))), "it is empty"),
        (encoded(Image.new("RGB", (300, 200), "white")), "it is empty"),
        (encoded(Image.new("1", (16000, 16000))), "it has 16000x16000 pixels"),
    ],
)
def test_what_shows_no_digit_is_refused(content: bytes, text: str, read: Reader) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=text):
        read(content)


def test_the_picture_that_is_refused_is_named(read: Reader) -> None:
    files = [encoded(seven()), encoded(seven()), encoded(Image.new("L", (280, 280)))]
    text = r"assertion failed: \[it is empty: [a-z ]+\] \[image_bytes\[2\]\]"
    with pytest.raises(tf.errors.InvalidArgumentError, match=text):
        read(*files)
