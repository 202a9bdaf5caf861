"""Turns drawings, scans and photos of a digit into the kind of picture that MNIST consists of.

MNIST (http://yann.lecun.com/exdb/mnist/): white on black, the digit fitted into 20x20 pixels with
its proportions kept, and placed in 28x28 pixels with its centre of mass in the middle. A model
trained on it is much worse on digits of another size or place.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps

SIDE = 28
"""Width and height of an MNIST picture, in pixels."""

_DIGIT_SIDE = 20
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
_MOST_PIXELS = 25_000_000
_INK = 0.2
"""Share of the strongest ink above which a pixel belongs to the digit, not to paper or noise."""

_LEAST_CONTRAST = 24
"""Of 255: below it a picture shows nothing but its background."""


class BadPicture(Exception):
    """The bytes are not a readable picture, or the picture shows no digit; the text says which."""


def prepare_digit(encoded: bytes) -> bytes:
    """Return a picture as the PNG that MNIST would have: 28x28, 8 bits of grey, white on black.

    A 28x28 picture with a black edge is taken to be one already and keeps its pixels.

    Raises:
        BadPicture: see there.
    """
    grey = np.asarray(_open(encoded), dtype=np.float32)
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    if grey.shape == (SIDE, SIDE) and not np.median(edge):
        if grey.max() < _LEAST_CONTRAST:
            raise BadPicture("it is empty")
        return _png(grey)
    # The edge is paper: ink is whatever differs from it, dark on light or light on dark.
    paper = float(np.median(edge))
    ink = np.abs(grey - paper) if 64 < paper < 192 else (grey - paper) * (1 if paper < 128 else -1)
    strongest = float(ink.max())
    if strongest < _LEAST_CONTRAST:
        raise BadPicture("it is empty: nothing stands out from its background")
    ink = np.clip(ink / strongest, 0, 1)
    ink[ink < _INK] = 0
    return _png(_centred(_fitted(ink)) * 255)


def _open(encoded: bytes) -> Image.Image:
    try:
        with Image.open(io.BytesIO(encoded), formats=_FORMATS) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                raise BadPicture(
                    f"it has {picture.width}x{picture.height} pixels, "
                    f"the limit is {_MOST_PIXELS // 1_000_000} million"
                )
            upright = ImageOps.exif_transpose(picture)
            if upright.has_transparency_data:
                # Transparent is paper, whatever colour hides below it.
                upright = upright.convert("RGBA")
                paper = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(paper, upright)
            return upright.convert("L")
    except Image.DecompressionBombError:
        raise BadPicture("it has too many pixels") from None
    # Pillow's decoders raise all of these for broken files.
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
        known = ", ".join(_FORMATS)
        raise BadPicture(f"it can't be read as one of {known}") from error


def _fitted(ink: np.ndarray) -> np.ndarray:
    """Return the digit cut out and scaled so that its longer side has 20 pixels."""
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    digit = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = _DIGIT_SIDE / max(digit.shape)
    size = (max(1, round(digit.shape[1] * scale)), max(1, round(digit.shape[0] * scale)))
    scaled = Image.fromarray(digit).resize(
        size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    )
    fitted = np.clip(np.asarray(scaled), 0, 1)
    # Averaging dims thin strokes; MNIST's reach full white.
    strongest = max(float(fitted.max()), 1e-6)
    return np.asarray(fitted / strongest, dtype=np.float32)


def _centred(digit: np.ndarray) -> np.ndarray:
    """Return a 28x28 array with the digit's centre of mass in its middle."""
    height, width = digit.shape
    mass = float(digit.sum())
    y = float((digit.sum(1) * np.arange(height)).sum()) / mass
    x = float((digit.sum(0) * np.arange(width)).sum()) / mass
    # Pixel k covers k..k+1, so the middle of 28 pixels is at 13.5. A lopsided digit must not
    # leave the frame.
    top = min(max(round((SIDE - 1) / 2 - y), 0), SIDE - height)
    left = min(max(round((SIDE - 1) / 2 - x), 0), SIDE - width)
    frame = np.zeros((SIDE, SIDE), dtype=np.float32)
    frame[top : top + height, left : left + width] = digit
    return frame


def _png(grey: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.round(grey).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()
