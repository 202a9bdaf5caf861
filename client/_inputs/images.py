"""Picture files to the pixels a model takes.

Preparation beyond size and range belongs to the model. Scans and drawings are often dark on light,
and a model of light on dark answers them confidently and wrong: such pictures are recognised by
their border, and inverted only on order.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import PictureError
from .frames import Frame, Scale

if TYPE_CHECKING:
    from ..specs import Array

_WHITE = 255

#: How many times as fine as the input a picture is decoded at least.
_FINER = 4


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture, ready to be sent."""

    row: Array
    """Of the frame's shape and dtype."""
    dark_on_light: bool
    """Whether it is grey, lighter at its border than mid-grey, and was left so."""


def load_picture(
    path: str,
    frame: Frame,
    scale: Scale | None = None,
    *,
    invert: bool = False,
    content: bytes | None = None,
) -> Picture:
    """Read the picture at `path` for `frame`.

    Pictures of any mode and size are turned upright, laid on a background where transparent, and
    resized; where the proportions differ, their own background fills the rest.

    Args:
        path: a file that Pillow can read.
        frame: where it goes.
        scale: the values of black and white; absent, those that are usual for the dtype.
        invert: whether to make dark light.
        content: that of the file, where it has been read already.

    Raises:
        PictureError: the file cannot be read as a picture.
    """
    # A photograph for a small input: JPEG decodes to an eighth of its size in a tenth of the time,
    # and what is left is still several times as fine as what it will be resized to.
    fine = (_FINER * frame.width, _FINER * frame.height) if frame.width and frame.height else None
    picture = _decoded(path, content, fine)
    picture = picture.convert("L" if frame.channels == 1 else "RGB")
    light = frame.channels == 1 and _border(picture) > _WHITE // 2
    # The managed service's client resized with the same filter (then named ANTIALIAS).
    size = frame.size(*picture.size)
    if picture.size != size:
        background = tuple(_border(band) for band in picture.split())
        picture = ImageOps.pad(picture, size, Image.Resampling.LANCZOS, color=background)
    pixels = np.asarray(picture)
    if invert:
        pixels = _WHITE - pixels
    shape = {1: (-1,), 2: pixels.shape[:2], 3: (*pixels.shape[:2], frame.channels)}[frame.rank]
    row = _scaled(pixels, frame, scale or frame.usual_scale()).reshape(shape)
    return Picture(row, light and not invert)


def _scaled(pixels: Any, frame: Frame, scale: Scale) -> Any:
    """Return pixels of 0..255 between the values of black and white."""
    dtype = np.dtype("float32" if frame.dtype == "bfloat16" else frame.dtype)
    low, high = scale
    if (low, high) == (0, _WHITE):
        return pixels.astype(dtype)
    if (low, high) == (0, 1) and frame.is_float:
        return (pixels / np.float32(_WHITE)).astype(dtype)
    values = low + pixels.astype(np.float64) * ((high - low) / _WHITE)
    return (values if frame.is_float else np.rint(values)).astype(dtype)


def _decoded(path: str, content: bytes | None, least: tuple[int, int] | None = None) -> Image.Image:
    """Return a file's picture, upright, in mode L or RGB.

    With `least`, a JPEG may come smaller, but not below this size.
    """
    try:
        with Image.open(path if content is None else io.BytesIO(content)) as opened:
            if least is not None:
                opened.draft(None, least)
            upright = ImageOps.exif_transpose(opened)
            return _flatten(upright)
    except FileNotFoundError as exc:
        raise PictureError(path, f"There is no file {path!r}. Check the path.") from exc
    except UnidentifiedImageError as exc:
        # Its own text names the file once more, or the object that holds what was read before.
        raise _unreadable(path, "of no known format" if content != b"" else "empty") from exc
    except Image.DecompressionBombError as exc:
        raise PictureError(
            path,
            f"Picture {path!r} has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels. "
            "Make it smaller.",
        ) from exc
    except Exception as exc:
        # Pillow's decoders raise about anything on damaged files: OSError, SyntaxError,
        # struct.error, IndexError.
        raise _unreadable(path, str(exc) or type(exc).__name__) from exc


def _flatten(picture: Image.Image) -> Image.Image:
    """Return `picture` in mode L or RGB."""
    if picture.mode == "F" or picture.mode.startswith("I"):
        # Pillow's own conversion to L cuts off what is above 255. What is white is only sure of
        # 16 bits: of 32 it is what the brightest pixel fits in, of floats 1 or that pixel.
        values = np.nan_to_num(np.asarray(picture, np.float64))
        brightest = max(float(values.max()), 1.0)
        if picture.mode == "I":
            top = next((top for top in (255.0, 65535.0) if brightest <= top), brightest)
        else:
            top = brightest if picture.mode == "F" else 65535.0
        return Image.fromarray(np.uint8(np.clip(values / top * _WHITE, 0, _WHITE).round()))
    if not picture.has_transparency_data:
        return picture.convert("L" if picture.mode in ("1", "L") else "RGB")
    picture = picture.convert("RGBA")
    alpha = np.asarray(picture.getchannel("A"), np.float64)
    grey = np.asarray(picture.convert("L"), np.float64)
    # The ink is what is opaque: dark ink goes on white, light ink on black.
    ink = float(np.average(grey, weights=alpha)) if alpha.any() else 0.0
    paper = Image.new("RGBA", picture.size, "white" if ink <= _WHITE // 2 else "black")
    return Image.alpha_composite(paper, picture).convert("RGB")


def _border(band: Image.Image) -> int:
    """Return the middle brightness of the outermost pixels, which is the background's."""
    pixels = np.asarray(band)
    outermost = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
    return int(np.median(np.concatenate(outermost)))


def _unreadable(path: str, reason: str) -> PictureError:
    reason = " ".join(reason.split()).rstrip(".")
    return PictureError(
        path, f"Cannot read picture {path!r} ({reason}). Give a PNG, JPEG or another picture file."
    )
