"""How a picture goes into one row of an input. Nothing of pictures themselves is needed here."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import InvalidInput
from ..specs import TensorSpec

#: Below it a flat input is a table's row, not a picture: 4, 9, 16 and 25 numbers are common ones.
_LEAST_SIDE = 8

Scale = tuple[float, float]
"""The values of black and of white."""


@dataclass(frozen=True, slots=True)
class Frame:
    """How one picture goes into one row of an input."""

    rank: int
    """Of the row: 1: all pixels one after the other; 2: [height, width]; 3: with the channels."""
    height: int | None
    width: int | None
    """None: as the picture has it, or as keeps its proportions where the other is known."""
    channels: int
    """1: grey, 3: red, green and blue."""
    dtype: str

    @classmethod
    def of(cls, spec: TensorSpec) -> Frame:
        """Return the frame for the numeric input `spec`.

        It may be [n, side * side] (grey), [n, height, width] (grey) or
        [n, height, width, 1 or 3], the last two of any height or width where the model says none.

        Raises:
            InvalidInput: pictures do not go into this input.
        """
        row = (spec.shape or ())[1:]
        if spec.dtype not in ("string", "bool") and not spec.composite:
            side = math.isqrt(row[0]) if len(row) == 1 and row[0] else 0
            if side >= _LEAST_SIDE and side**2 == row[0]:
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

    @property
    def is_float(self) -> bool:
        """Whether pixels are no whole numbers."""
        return "float" in self.dtype

    def usual_scale(self) -> Scale:
        """Return the values of black and white where nobody says them."""
        if self.is_float:
            return 0.0, 1.0
        return (-128.0, 127.0) if self.dtype == "int8" else (0.0, 255.0)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height in the row of a picture that has these."""
        if self.width is None and self.height is None:
            return width, height
        return (
            self.width or max(1, round(width * (self.height or 1) / height)),
            self.height or max(1, round(height * (self.width or 1) / width)),
        )

    def __str__(self) -> str:
        sides = f"{self.height or 'any'}x{self.width or 'any'}"
        return f"{sides} {'grey' if self.channels == 1 else 'RGB'} {self.dtype}"


def takes_encoded(spec: TensorSpec, *, named: bool = False) -> bool:
    """Return whether an input takes one encoded picture for each example.

    Names of such inputs end in `_bytes`; one that the user has `named` may be called anything.
    """
    strings = spec.dtype == "string" and (spec.shape is None or len(spec.shape) == 1)
    return strings and not spec.composite and (named or spec.name.endswith("_bytes"))


def takes_pixels(spec: TensorSpec) -> bool:
    """Return whether an input takes the pixels of pictures."""
    try:
        Frame.of(spec)
    except InvalidInput:
        return False
    return True
