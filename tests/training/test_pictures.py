"""Picture files of all kinds, decoded in the graph, compared with what Pillow makes of them."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from training.pictures import decode_picture, decode_pictures
from training.quiet_tensorflow import tf

WIDTH, HEIGHT = 61, 47
RANDOM = np.random.default_rng(0)
COLOURED = Image.fromarray(RANDOM.integers(0, 255, (6, 8, 3)).astype(np.uint8)).resize(
    (WIDTH, HEIGHT), Image.Resampling.BICUBIC
)
GREY = COLOURED.convert("L")
PALETTE = COLOURED.quantize(32)
ALPHA = Image.fromarray(np.tile(np.arange(WIDTH, dtype=np.uint8) * 4, (HEIGHT, 1)))
SIXTEEN_BITS = Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257)


def with_alpha(picture: Image.Image, mode: str) -> Image.Image:
    whole = picture.convert(mode)
    whole.putalpha(ALPHA)
    return whole


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif[0x0112] = orientation
    return exif


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


@pytest.fixture(scope="module")
def decoders() -> dict[int, Any]:
    one = [tf.TensorSpec([], tf.string)]
    return {
        channels: tf.function(
            lambda file, channels=channels: decode_picture(file, channels), input_signature=one
        )
        for channels in (1, 3)
    }


def as_pillow_sees(file: bytes, mode: str) -> np.ndarray:
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(file)))
    if picture.mode.startswith("I"):
        picture = Image.fromarray((np.asarray(picture) / 257).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        paper = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(paper, picture)
    return np.asarray(picture.convert(mode), np.int32)


FILES = {
    **{f"PNG {mode}": encoded(COLOURED.convert(mode), "PNG") for mode in ("1", "L", "RGB")},
    "PNG palette": encoded(PALETTE, "PNG"),
    "PNG 16 bits": encoded(SIXTEEN_BITS, "PNG"),
    "PNG RGBA": encoded(with_alpha(COLOURED, "RGBA"), "PNG"),
    "PNG LA": encoded(with_alpha(GREY, "LA"), "PNG"),
    "PNG transparent palette": encoded(PALETTE, "PNG", transparency=5),
    "PNG transparent grey": encoded(GREY, "PNG", transparency=int(np.asarray(GREY)[3, 3])),
    **{
        f"JPEG {mode}{' progressive' * progressive}": encoded(
            COLOURED.convert(mode), "JPEG", quality=95, progressive=bool(progressive)
        )
        for mode in ("L", "RGB", "CMYK")
        for progressive in (0, 1)
    },
    **{
        f"{kind} turned {way}": encoded(COLOURED, kind, exif=turned(way), **options)
        for kind, options in (
            *(("JPEG", {"quality": 95}), ("PNG", {}), ("WEBP", {"lossless": True})),
        )
        for way in range(1, 9)
    },
    "WEBP": encoded(COLOURED, "WEBP"),
    "WEBP lossless": encoded(COLOURED, "WEBP", lossless=True),
    "WEBP RGBA": encoded(with_alpha(COLOURED, "RGBA"), "WEBP"),
    "WEBP RGBA lossless": encoded(with_alpha(COLOURED, "RGBA"), "WEBP", lossless=True),
    "GIF": encoded(PALETTE, "GIF"),
    "GIF transparent": encoded(PALETTE, "GIF", transparency=5),
    "GIF animated": encoded(
        PALETTE,
        "GIF",
        save_all=True,
        append_images=[PALETTE.rotate(180)],
        transparency=5,
        comment=b"x" * 600,
    ),
    **{f"BMP {mode}": encoded(COLOURED.convert(mode), "BMP") for mode in ("1", "L", "RGB")},
    "BMP palette": encoded(PALETTE, "BMP"),
    "BMP 32 bits": encoded(COLOURED.convert("RGBA"), "BMP"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_as_it_is_seen(name: str, decoders: dict[int, Any]) -> None:
    for channels, mode in ((1, "L"), (3, "RGB")):
        found = decoders[channels](FILES[name]).numpy().astype(np.int32)
        expected = as_pillow_sees(FILES[name], mode)
        assert found.shape == (*expected.shape[:2], channels)
        # libjpeg's own grey is that of its luma, not of rounded colours.
        assert np.abs(found - expected.reshape(found.shape)).max() <= (4 if "JPEG" in name else 2)


def test_an_interlaced_png_is_read(decoders: dict[int, Any]) -> None:
    """One of 2x2 pixels, by hand: Pillow writes none."""
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    # Adam7: the first pass has the first pixel, the sixth the other of that row, the last the rest.
    passes = b"\0\x0a" + b"\0\x14" + b"\0\x1e\x28"
    file = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 1))
        + chunk(b"IDAT", zlib.compress(passes))
        + chunk(b"IEND", b"")
    )
    assert decoders[1](file).numpy()[:, :, 0].tolist() == [[10, 20], [30, 40]]


def test_white_ink_on_nothing_is_seen_on_black(decoders: dict[int, Any]) -> None:
    ink = Image.new("RGBA", (WIDTH, HEIGHT), "white")
    ink.putalpha(ALPHA)
    assert decoders[1](encoded(ink, "PNG")).numpy()[0, :, 0].tolist() == [*range(0, 4 * WIDTH, 4)]


def test_a_large_photo_is_decoded_smaller(decoders: dict[int, Any]) -> None:
    """Of 50 million pixels, as phones make them: in floats of RGB it would take 600 MB."""
    photo = encoded(Image.new("L", (8192, 6144), 200), "JPEG")
    found = decoders[3](photo)
    assert found.shape == (3072, 4096, 3)
    assert found.numpy()[100, 100].tolist() == [200, 200, 200]


def test_many_pictures_come_in_one_size() -> None:
    files = tf.constant([FILES["PNG RGB"], FILES["JPEG L"]])
    assert decode_pictures(files, 20, 30).shape == (2, 20, 30, 3)
    assert decode_pictures(files, 20, 30, channels=1).shape == (2, 20, 30, 1)
    assert decode_pictures(files[:0], 20, 30).shape == (0, 20, 30, 3)


ANIMATED = encoded(COLOURED, "WEBP", save_all=True, append_images=[ImageOps.invert(COLOURED)])


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (b"", "it cannot be read as PNG, JPEG, WebP, GIF or BMP"),
        (b"%PDF-1.7", "it cannot be read as PNG"),
        (FILES["PNG L"][:200], "Invalid PNG data"),
        (FILES["JPEG L"][:300], "Invalid JPEG data"),
        (FILES["JPEG L"][:20], "the file is damaged or incomplete"),
        (FILES["BMP L"][:300], "the file is damaged or incomplete"),
        (FILES["PNG L"][:20], "the file is damaged or incomplete"),
        (FILES["WEBP"][:20], "the file is damaged or incomplete"),
        (FILES["GIF"][:300], "Invalid GIF data"),
        (FILES["WEBP"][:100], "Failed to decode WebP"),
        (
            encoded(Image.new("1", (16000, 16000)), "PNG"),
            "has 16000x16000 pixels, and only 1000000",
        ),
        (
            encoded(Image.new("1", (6000, 6000)), "PNG", transparency=0),
            "it has 6000x6000 pixels, and only 25000000 of such a file can be read. Make it sm",
        ),
        # TensorFlow itself would write past the end of its memory.
        (ANIMATED, "it is an animated WebP file. Save one picture of it"),
    ],
)
def test_what_is_no_picture_is_refused_in_words(
    file: bytes, text: str, decoders: dict[int, Any]
) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=text):
        decoders[1](file)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_a_picture_or_refused(name: str, decoders: dict[int, Any]) -> None:
    for number in range(20):
        damaged = bytearray(FILES[name])
        for place in RANDOM.integers(0, min(len(damaged), 200), 3):
            damaged[place] = RANDOM.integers(0, 256)
        if number % 3 == 0:
            del damaged[RANDOM.integers(0, len(damaged)) :]
        try:
            found = decoders[1](bytes(damaged))
        except tf.errors.InvalidArgumentError:
            continue
        assert found.shape[2] == 1
