"""One example: a picture, a text, or a row of a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..specs import Signature

if TYPE_CHECKING:
    from ..specs import Array


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One row of the model's inputs, or, where the model knows no rows, all of a request."""

    source: str
    """What it was read from: a path, one with a row (`x.npy[3]`) or line (`x.txt:3`), a text."""
    signature: Signature
    """The one that it goes to."""
    inputs: Mapping[str, Array]
    """By input name, of the input's dtype; without the dimension of the examples unless `whole`."""
    whole: bool = False
    cells: Mapping[str, str] | None = None
    """The row of the table that it was read from, by column."""

    @property
    def size(self) -> int:
        """Bytes of all inputs."""
        return sum(
            array.nbytes
            if array.dtype != object
            else sum(len(item) for item in array.ravel().tolist())
            for array in self.inputs.values()
        )


def scalar(value: bytes) -> Array:
    """Return bytes as an array without dimensions."""
    row = np.empty((), object)
    row[()] = value
    return row
