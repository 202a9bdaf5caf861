"""Picture files to the arrays a model takes.

A digit model takes 28x28 grey, 0..1, white ink on black. Scans and drawings are the other way
round, and such a model answers them confidently and wrong: they are recognised by their border.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from ..errors import InvalidInput, PictureError
from ..specs import TensorSpec

if TYPE_CHECKING:
    from ..specs import Array

Invert = Literal["auto", "yes", "no"]

#: What is taken from a folder; a file given by name may be called anything.
SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

_WHITE = 255

#: How many times as fine as the input a picture is decoded at least.
_FINER = 4


@dataclass(frozen=True, slots=True)
class Frame:
    """How one picture goes into one row of an input."""

    rank: int
    """Of the row: 1: all pixels one after the other; 2: [height, width]; 3: with the channels."""
    height: int | None
    width: int | None
    """None: as the picture has it, or as keeps its proportions where the other is known."""
    channels: int
    """1: grey, 3: red, green and blue; 0: the encoded file itself."""
    dtype: str

    @classmethod
    def of(cls, spec: TensorSpec) -> Frame:
        """Return the frame for the input `spec`.

        Numeric inputs may be [n, side * side] (grey), [n, height, width] (grey) or
        [n, height, width, 1 or 3], the last two of any height or width where the model says
        none; inputs of strings [n] take PNG and JPEG files.

        Raises:
            InvalidInput: pictures do not go into this input.
        """
        if spec.dtype == "string" and (spec.shape is None or len(spec.shape) == 1):
            return cls(0, None, None, 0, spec.dtype)
        row = (spec.shape or ())[1:]
        if spec.dtype not in ("string", "bool"):
            if len(row) == 1 and row[0] and (side := math.isqrt(row[0])) ** 2 == row[0]:
                return cls(1, side, side, 1, spec.dtype)
            if len(row) == 2:
                return cls(2, row[0], row[1], 1, spec.dtype)
            if len(row) == 3 and row[2] in (1, 3):
                return cls(3, row[0], row[1], row[2], spec.dtype)
        raise InvalidInput(
            f"Input {spec.name!r} ({spec}) takes no pictures: neither [?, side * side], "
            "[?, height, width] nor [?, height, width, 1 or 3]. "
            "Take another signature, or call Client.predict with arrays."
        )

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height in the row of a picture that has these."""
        if self.width is None and self.height is None:
            return width, height
        return (
            self.width or max(1, round(width * (self.height or 1) / height)),
            self.height or max(1, round(height * (self.width or 1) / width)),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture, ready to be sent."""

    source: str
    row: Array
    """Of the frame's shape and dtype: 0..1 for floats, 0..255 for integers."""
    inverted: bool


def find_pictures(paths: Iterable[str | Path]) -> list[str | PictureError]:
    """Return the files of `paths`, with folders replaced by the pictures directly in them, by name.

    A path of which nothing comes is replaced by the error that says why.
    """
    found: list[str | PictureError] = []
    for path in paths:
        given = os.fspath(path)
        if not os.path.isdir(given):
            found.append(given)
            continue
        try:
            inside = sorted(filter(_is_picture, Path(given).iterdir()))
        except OSError as exc:
            found.append(_unreadable(given, exc.strerror or str(exc)))
            continue
        found.extend(map(str, inside))
        if not inside:
            text = (
                f"Folder {given!r} holds no picture. "
                f"Put files there that end in {', '.join(sorted(SUFFIXES))}, or name the files."
            )
            found.append(PictureError(given, text))
    return found


def load_picture(
    path: str, frame: Frame, invert: Invert = "auto", content: bytes | None = None
) -> Picture:
    """Read the picture at `path` for `frame`.

    Pictures of any mode and size are turned upright, laid on a background where transparent, and
    resized; where the proportions differ, their own background fills the rest.

    Args:
        path: a file that Pillow can read.
        frame: where it goes.
        invert: `auto` inverts grey pictures whose border is lighter than mid-grey.
        content: that of the file, where it has been read already.

    Raises:
        PictureError: the file cannot be read as a picture.
    """
    if frame.channels == 0:
        return _encoded(path, invert, content)
    # A photograph for a small input: JPEG decodes to an eighth of its size in a tenth of the time,
    # and what is left is still several times as fine as what it will be resized to.
    fine = (_FINER * frame.width, _FINER * frame.height) if frame.width and frame.height else None
    picture, _ = _decoded(path, content, fine)
    inverted = invert == "yes" or (
        invert == "auto" and frame.channels == 1 and _border(picture.convert("L")) > _WHITE // 2
    )
    picture = picture.convert("L" if frame.channels == 1 else "RGB")
    # The managed service's client resized with the same filter (then named ANTIALIAS).
    size = frame.size(*picture.size)
    if picture.size != size:
        background = tuple(_border(band) for band in picture.split())
        picture = ImageOps.pad(picture, size, Image.Resampling.LANCZOS, color=background)
    pixels = np.asarray(picture)
    if inverted:
        pixels = _WHITE - pixels
    if np.dtype(frame.dtype).kind == "f":
        pixels = pixels / np.float32(_WHITE)
    shape = {1: (-1,), 2: pixels.shape[:2], 3: (*pixels.shape[:2], frame.channels)}[frame.rank]
    return Picture(path, pixels.astype(frame.dtype).reshape(shape), inverted)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _decoded(
    path: str, content: bytes | None, least: tuple[int, int] | None = None
) -> tuple[Image.Image, bool]:
    """Return a file's picture, upright, in mode L or RGB, and whether any decoder sees it so.

    With `least`, a JPEG may come smaller, but not below this size.
    """
    try:
        with Image.open(path if content is None else io.BytesIO(content)) as opened:
            if least is not None:
                opened.draft(None, least)
            upright = ImageOps.exif_transpose(opened)
            plain = (
                opened.format in ("PNG", "JPEG")
                and opened.mode in ("1", "L", "P", "RGB")
                and not opened.has_transparency_data
                and opened.getexif().get(ExifTags.Base.Orientation, 1) == 1
            )
            return _flatten(upright), plain
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


def _encoded(path: str, invert: Invert, content: bytes | None) -> Picture:
    """Return a picture as a PNG or JPEG file: its own, if any decoder gets the same out of it.

    Decoding it here finds files that would fail the whole request they are in.
    """
    if content is None:
        try:
            content = Path(path).read_bytes()
        except FileNotFoundError as exc:
            raise PictureError(path, f"There is no file {path!r}. Check the path.") from exc
        except OSError as exc:
            raise _unreadable(path, exc.strerror or str(exc)) from exc
    picture, plain = _decoded(path, content)
    if invert == "yes" or not plain:
        buffer = io.BytesIO()
        # Nothing says whether the model takes light on dark: no inversion that was not ordered.
        (ImageOps.invert(picture) if invert == "yes" else picture).save(buffer, "PNG")
        content = buffer.getvalue()
    row = np.empty((), object)
    row[()] = content
    return Picture(path, row, invert == "yes")


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
