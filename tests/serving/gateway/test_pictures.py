"""Pictures made like MNIST's: place, size and polarity must not matter."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from serving.gateway.pictures import SIDE, BadPicture, prepare_digit


def encoded(picture: Image.Image, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    picture.save(out, kind)
    return out.getvalue()


def decoded(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)), dtype=np.float32)


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
    ],
    ids=["plain", "small", "corner", "black on white", "on grey", "large", "tiny"],
)
def test_a_digit_is_twenty_pixels_high_and_centred_by_mass(picture: Image.Image) -> None:
    prepared = decoded(prepare_digit(encoded(picture)))
    assert prepared.shape == (SIDE, SIDE)
    assert max(box(prepared)) == 20
    assert np.allclose(centre(prepared), 13.5, atol=0.6)
    assert prepared.max() == 255
    assert not prepared[0].any(), "white on black"


def test_place_size_and_polarity_do_not_matter() -> None:
    expected = decoded(prepare_digit(encoded(seven())))
    for picture in (seven(at=(90, 100)), seven(ink=0, paper=255), seven(560, (80, 120), 300)):
        got = decoded(prepare_digit(encoded(picture)))
        assert np.abs(got - expected).mean() < 6


def test_a_picture_that_is_mnist_already_keeps_its_pixels() -> None:
    digit = np.zeros((SIDE, SIDE), np.uint8)
    digit[5:24, 12:15] = 200
    digit[5, 10] = 17
    assert (decoded(prepare_digit(encoded(Image.fromarray(digit)))) == digit).all()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_usual_kinds_are_read(kind: str) -> None:
    prepared = decoded(prepare_digit(encoded(seven(ink=0, paper=255), kind)))
    assert max(box(prepared)) == 20


def test_transparent_is_paper() -> None:
    alpha = seven()
    picture = Image.new("RGBA", alpha.size, "black")
    picture.putalpha(alpha)
    expected = decoded(prepare_digit(encoded(seven(ink=0, paper=255))))
    assert (decoded(prepare_digit(encoded(picture))) == expected).all()


def test_a_photo_lies_as_its_exif_says() -> None:
    turned = seven().transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # The camera was turned: show it turned clockwise.
    out = io.BytesIO()
    turned.save(out, "PNG", exif=exif)
    expected = decoded(prepare_digit(encoded(seven())))
    assert np.abs(decoded(prepare_digit(out.getvalue())) - expected).mean() < 6


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "can't be read"),
        (b"GIF89a", "can't be read"),
        (encoded(seven())[:200], "can't be read"),
        (b"%PDF-1.7", "can't be read"),
        (encoded(Image.new("L", (280, 280))), "empty"),
        (encoded(Image.new("L", (28, 28))), "empty"),
        (encoded(Image.new("RGB", (300, 200), "white")), "empty"),
        (encoded(Image.new("1", (6000, 6000))), "limit is 25 million"),
        (encoded(Image.new("1", (16000, 16000))), "too many pixels"),
    ],
)
def test_what_shows_no_digit_is_refused(content: bytes, text: str) -> None:
    with pytest.raises(BadPicture, match=text):
        prepare_digit(content)
