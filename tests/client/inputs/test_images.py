"""Pictures to rows: modes, sizes, ranges, inversion, what is none. No server is asked here."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from client import InvalidInput, PictureError, TensorSpec
from client._inputs.frames import Frame, takes_encoded
from client._inputs.images import Picture, load_picture
from client._inputs.paths import find_files

DIGIT = Frame.of(TensorSpec("images", "float32", (None, 784)))


@pytest.fixture
def load(tmp_path: Path) -> Any:
    """Save an array as a picture and load it."""

    def save_and_load(
        pixels: np.ndarray | Image.Image,
        frame: Frame = DIGIT,
        suffix: str = ".png",
        scale: Any = None,
        invert: bool = False,
        **options: Any,
    ) -> Picture:
        path = tmp_path / f"picture{suffix}"
        picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
        picture.save(path, **options)
        return load_picture(str(path), frame, scale, invert=invert)

    return save_and_load


def stroke(height: int = 28, width: int = 28, dtype: str = "uint8", ink: int = 255) -> np.ndarray:
    """Return a black picture with an upright bar of ink in its middle third."""
    pixels = np.zeros((height, width), dtype)
    pixels[height // 4 : -height // 4, width // 3 : width * 2 // 3] = ink
    return pixels


def test_a_28x28_grey_picture_is_taken_pixel_for_pixel(load: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    pixels[[0, -1]] = pixels[:, [0, -1]] = 0
    picture = load(pixels)
    assert picture.row.dtype == np.float32
    np.testing.assert_array_equal(picture.row, pixels.ravel() / np.float32(255))


def test_dark_on_light_stays_so_and_is_seen(load: Any) -> None:
    picture = load(255 - stroke())
    assert picture.dark_on_light
    np.testing.assert_array_equal(picture.row, 1 - stroke().ravel() / np.float32(255))


def test_a_digit_that_touches_the_border_does_not_fool_the_detection(load: Any) -> None:
    pixels = stroke()
    pixels[:, 10:18] = 255
    assert not load(pixels).dark_on_light
    assert load(255 - pixels).dark_on_light


def test_inversion_is_ordered(load: Any) -> None:
    picture = load(255 - stroke(), invert=True)
    assert not picture.dark_on_light
    np.testing.assert_array_equal(picture.row, stroke().ravel() / np.float32(255))


@pytest.mark.parametrize(
    ("dtype", "scale", "black", "white"),
    [
        ("float32", None, 0, 1),
        ("float32", (0, 255), 0, 255),
        ("float64", (-1, 1), -1, 1),
        ("float16", (1, 0), 1, 0),
        ("bfloat16", None, 0, 1),
        ("uint8", None, 0, 255),
        ("int32", (0, 1), 0, 1),
        ("int8", None, -128, 127),
    ],
)
def test_black_and_white_are_what_the_scale_says(
    load: Any, dtype: str, scale: Any, black: float, white: float
) -> None:
    frame = Frame.of(TensorSpec("x", dtype, (None, 28, 28)))
    row = load(stroke(), frame, scale=scale).row
    assert (row[0, 0], row[14, 14]) == (black, white)
    assert row.dtype == ("float32" if dtype == "bfloat16" else dtype)


@pytest.mark.parametrize("ink", [1, 200, 40_000, 2**31 - 1])
def test_white_of_32_bits_is_what_the_brightest_pixel_fits_in(load: Any, ink: int) -> None:
    top = {1: 255, 200: 255, 40_000: 65535}.get(ink, ink)
    picture = load(stroke(dtype="int32", ink=ink), suffix=".tif")
    np.testing.assert_allclose(picture.row, stroke().ravel() / 255 * ink / top, atol=0.01)


def test_floats_are_0_to_1_or_up_to_the_brightest(load: Any) -> None:
    for ink in (1.0, 255.0):
        pixels = np.float32(stroke() / 255 * ink)
        pixels[0, 0] = np.nan
        picture = load(pixels, suffix=".tif")
        np.testing.assert_allclose(picture.row, stroke().ravel() / 255, atol=0.01)


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_of_an_animation_the_first_picture_is_taken(load: Any, suffix: str) -> None:
    frames = [Image.fromarray(stroke()), Image.new("L", (28, 28), 128)]
    picture = load(frames[0], suffix=suffix, save_all=True, append_images=frames[1:])
    assert np.abs(picture.row - stroke().ravel() / 255).mean() < 0.05


MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16"]


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_the_same_row(load: Any, mode: str) -> None:
    if mode == "I;16":
        picture = load(stroke(dtype="uint16", ink=65535))
    else:
        source = Image.fromarray(stroke()).convert(mode)
        picture = load(source, suffix=".tif" if mode in ("CMYK", "PA") else ".png")
    np.testing.assert_allclose(picture.row, stroke().ravel() / 255, atol=0.01)


@pytest.mark.parametrize("ink", [0, 255])
def test_ink_on_transparent_ground_is_seen_whatever_its_colour(load: Any, ink: int) -> None:
    pixels = np.full((28, 28, 4), ink, np.uint8)
    pixels[..., 3] = stroke()
    picture = load(pixels)
    expected = stroke().ravel() / np.float32(255)
    np.testing.assert_array_equal(picture.row, expected if ink else 1 - expected)
    assert picture.dark_on_light is (ink == 0)


@pytest.mark.parametrize("shape", [(280, 280), (7, 7), (300, 100), (31, 1000), (1, 1)])
def test_pictures_of_any_size_fit_without_being_stretched(
    load: Any, shape: tuple[int, int]
) -> None:
    pixels = np.full(shape, 255, np.uint8)
    picture = load(pixels)
    assert picture.row.shape == (784,)
    assert picture.row.min() == 1  # The background fills the rest, with no frame around it.


def test_a_photograph_for_a_small_input_is_decoded_small_and_looks_the_same(
    load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = stroke(1500, 1200)
    small = load(pixels, suffix=".jpg", quality=95).row
    monkeypatch.setattr("client._inputs.images._FINER", 100)
    difference = np.abs(small - load(pixels, suffix=".jpg", quality=95).row)
    assert difference.max() < 0.06  # At the edges of the bar.
    assert 0 < difference.mean() < 0.003


def test_proportions_are_kept(load: Any) -> None:
    wide = np.zeros((50, 100), np.uint8)
    wide[10:40, 35:65] = 255
    ink = load(wide).row.reshape(28, 28) > 0.5
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    assert abs(np.ptp(rows) - np.ptp(columns)) <= 1


def test_a_picture_taken_sideways_is_turned_upright(load: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: to be turned a quarter clockwise.
    pixels = stroke(56, 56)
    pixels[4:12, 4:30] = 255
    sideways = np.rot90(pixels)
    upright = load(np.ascontiguousarray(sideways), suffix=".jpg", exif=exif, quality=100).row
    expected = load(pixels).row
    assert np.abs(upright - expected).mean() < 0.02


@pytest.mark.parametrize(
    ("shape", "dtype", "row", "top"),
    [
        ((None, 784), "float32", (784,), 1),
        ((None, 28, 28), "float64", (28, 28), 1),
        ((None, 14, 20, 1), "float32", (14, 20, 1), 1),
        ((None, 8, 8, 3), "float16", (8, 8, 3), 1),
        ((None, 8, 8, 3), "uint8", (8, 8, 3), 255),
    ],
)
def test_rows_have_the_shape_dtype_and_range_of_the_input(
    load: Any, shape: tuple[int | None, ...], dtype: str, row: tuple[int, ...], top: int
) -> None:
    frame = Frame.of(TensorSpec("x", dtype, shape))
    picture = load(np.full((30, 30, 3), 255, np.uint8), frame)
    assert (picture.row.shape, picture.row.dtype.name) == (row, dtype)
    assert picture.row.max() == picture.row.min() == top


@pytest.mark.parametrize(
    ("shape", "row"),
    [
        ((None, None, None, 3), (30, 60, 3)),
        ((1, None, None), (30, 60)),
        ((None, 10, None, 1), (10, 20, 1)),
        ((None, None, 20, 3), (10, 20, 3)),
    ],
)
def test_where_a_model_takes_any_size_pictures_keep_theirs_or_their_proportions(
    load: Any, shape: tuple[int | None, ...], row: tuple[int, ...]
) -> None:
    frame = Frame.of(TensorSpec("x", "uint8", shape))
    for suffix in (".png", ".jpg"):
        assert load(np.full((30, 60), 9, np.uint8), frame, suffix).row.shape == row


def test_colour_pictures_keep_their_colours_and_are_not_inverted_unasked(load: Any) -> None:
    frame = Frame.of(TensorSpec("x", "uint8", (None, 2, 2, 3)))
    picture = load(np.full((2, 2, 3), (200, 220, 240), np.uint8), frame)
    assert picture.row[0, 0].tolist() == [200, 220, 240]


def test_only_strings_named_as_bytes_take_encoded_pictures_unasked() -> None:
    assert takes_encoded(TensorSpec("image_bytes", "string", (None,)))
    assert takes_encoded(TensorSpec("photo_bytes", "string", None))
    assert not takes_encoded(TensorSpec("photo", "string", (None,)))
    assert takes_encoded(TensorSpec("photo", "string", (None,)), named=True)
    assert not takes_encoded(TensorSpec("image_bytes", "string", (None, 2)), named=True)
    assert not takes_encoded(TensorSpec("image_bytes", "uint8", (None,)), named=True)


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        ("float32", None),
        ("float32", (None,)),
        ("float32", ()),
        ("float32", (None, 785)),
        ("float32", (None, 4)),
        ("float32", (None, 49)),
        ("float32", (None, 28, 28, None)),
        ("float32", (None, 28, 28, 4)),
        ("string", (None, 3)),
        ("bool", (None, 784)),
    ],
)
def test_an_input_that_takes_no_pictures_is_said(
    dtype: str, shape: tuple[int | None, ...] | None
) -> None:
    with pytest.raises(InvalidInput, match="Input 'x' .* takes no pictures"):
        Frame.of(TensorSpec("x", dtype, shape))


def png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(stroke(100, 100)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("content", [b"", b"not a picture\n", png()[:60], png()[:-20], png()[:8]])
def test_a_file_that_is_no_whole_picture_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=r"Cannot read picture '.*broken.png' \(") as caught:
        load_picture(str(path), DIGIT)
    assert caught.value.path == str(path)
    assert "\n" not in str(caught.value)


def test_a_picture_of_too_many_pixels_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    Image.new("1", (50, 50)).save(tmp_path / "huge.png")
    with pytest.raises(PictureError, match="has more than 2,000 pixels. Make it smaller."):
        load_picture(str(tmp_path / "huge.png"), DIGIT)


def test_every_damage_is_a_picture_error_or_still_a_picture(tmp_path: Path) -> None:
    """Pillow raises more than OSError: bytes overwritten at random find out what."""
    random = np.random.default_rng(1)
    path = tmp_path / "damaged"
    for suffix in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"):
        buffer = io.BytesIO()
        Image.fromarray(stroke(40, 40)).save(buffer, suffix)
        for _ in range(30):
            content = bytearray(buffer.getvalue())
            for position in random.integers(0, len(content), 4):
                content[position] = random.integers(0, 256)
            path.write_bytes(content)
            with contextlib.suppress(PictureError):
                assert load_picture(str(path), DIGIT).row.shape == (784,)


def test_folders_give_their_pictures_by_name_and_files_stay_in_order(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpeg", "notes.txt", ".hidden.png"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "camera.HEIC").touch()
    told: list[str] = []
    paths = [tmp_path / "notes.txt", tmp_path / "empty", tmp_path]
    last, error, first, second = find_files(paths, told.append)
    assert told == [
        f"Left out of folder '{tmp_path}': 2 files that are no pictures by the name (.heic, .txt), "
        "2 folders."
    ]
    assert (last, first, second) == (
        str(tmp_path / "notes.txt"),
        str(tmp_path / "a.jpeg"),
        str(tmp_path / "b.PNG"),
    )
    assert isinstance(error, PictureError)
    assert "holds no picture" in str(error)
