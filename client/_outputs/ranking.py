"""Which classes an answer names, and how sure the model is of each.

Models say it in two ways: as a vector with a number for each class, in the order of the classes,
or as two outputs, one of classes and one of the confidence of each, which may be sorted. Taken for
the other, the second way gives wrong classes. One number alone is neither: that of a sigmoid is the
probability of class 1, and its position is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .._inputs.choice import PROBABILITIES, pair_of
from ..about import About
from ..errors import InvalidInput
from ..results import Score
from .plain import plain

if TYPE_CHECKING:
    from ..specs import Array

#: By which the sum of probabilities may miss 1: float16 and bfloat16 are coarse.
_SUM_ERROR = 0.02


@dataclass(frozen=True, slots=True)
class Ranking:
    """How the classes of an answer are told."""

    confidences: str
    """The output that says how sure the model is."""
    classes: str | None = None
    """The output that names the classes; None: they are the positions in `confidences`."""
    guessed: bool = False
    """Whether only its numbers tell that `confidences` is what it seems."""

    def best(self, row: Mapping[str, Any], count: int, names: Mapping[int, str]) -> list[Score]:
        """Return the classes of one example that the model is surest of, best first."""
        flat = np.asarray(row[self.confidences]).ravel()
        if flat.dtype.kind not in "fiub":
            raise InvalidInput(
                f"Output {self.confidences!r} holds no numbers to rank. Name another one."
            )
        if self.classes is None and flat.size < 2:
            raise _one_value(self.confidences)
        # Stable, so that equal confidences come in the order of the classes.
        order = np.argsort(-flat.astype(np.float64), kind="stable")[:count].tolist()
        numbers = plain(flat[order])
        if self.classes is None:
            return [
                Score(index, float(number), names.get(index))
                for index, number in zip(order, numbers, strict=True)
            ]
        # As objects: numpy would make bytes of a fixed length out of a single text.
        classes = map(plain, np.asarray(row[self.classes], dtype=object).ravel()[order])
        return [
            Score(None, float(number), found)
            if isinstance(found, str)
            else Score(int(found), float(number), names.get(int(found)))
            for found, number in zip(classes, numbers, strict=True)
        ]


def find_ranking(
    outputs: Mapping[str, Array], about: About, output: str | None, *, asked: bool
) -> Ranking | None:
    """Return how the outputs tell classes; None if they seem to tell none.

    Args:
        outputs: by name, with a row for each example.
        about: what the model says of itself.
        output: the one to rank, if one is named.
        asked: whether classes were asked for, so that any vector of numbers is ranked.

    Raises:
        InvalidInput: classes were asked for, and there is nothing to rank.
    """
    pair = _pair(outputs)
    if output is not None:
        if pair is not None and output in pair:
            return Ranking(pair[1], pair[0]) if asked else None
        return Ranking(output) if asked else None
    if pair is not None:
        return Ranking(pair[1], pair[0])
    floats = [name for name, value in outputs.items() if value.ndim == 2 and _is_float(value)]
    vectors = [name for name in floats if outputs[name].shape[1] > 1]
    if PROBABILITIES in vectors:
        return Ranking(PROBABILITIES)
    for name in vectors:
        if len(about.output(name).labels) == outputs[name].shape[1]:
            return Ranking(name)
    if len(outputs) == 1 and vectors and are_probabilities(outputs[vectors[0]]):
        return Ranking(vectors[0], guessed=True)
    if not asked:
        return None
    if len(outputs) == 1 and all(_is_float(v) and v[:1].size == 1 for v in outputs.values()):
        raise _one_value(*outputs)
    if len(vectors) != 1:
        some = ", ".join(vectors) or "none of this one's"
        raise InvalidInput(
            "The signature gives no output 'probabilities', nor classes beside confidences. Name "
            f"an output to rank ({some}), or ask for no classes."
        )
    return Ranking(vectors[0], guessed=not are_probabilities(outputs[vectors[0]]))


def are_probabilities(rows: Array) -> bool:
    """Return whether each row holds numbers of 0..1, two at least, whose sum is 1."""
    numbers = rows.astype(np.float64)
    return bool(
        rows.ndim == 2
        and rows.shape[1] > 1
        and rows.size
        and (numbers >= 0).all()
        and (numbers <= 1).all()
        and (abs(numbers.sum(1) - 1) < _SUM_ERROR).all()
    )


def _one_value(output: str) -> InvalidInput:
    return InvalidInput(
        f"Output {output!r} is one value for each example, not one for each class, so there is "
        "nothing to rank. Ask for no classes (leave out --top), and it comes as it is."
    )


def _pair(outputs: Mapping[str, Array]) -> tuple[str, str] | None:
    kinds = {
        name: ("string" if value.dtype == object else value.dtype.name, value.shape)
        for name, value in outputs.items()
    }
    pair = pair_of(kinds)
    if pair is None:
        return None
    classes = outputs[pair[0]]
    # Flags of several classes that may all be true, 0 or 1 each, are no list of classes.
    if classes.ndim == 2 and any(len(set(row)) < len(row) for row in classes.tolist()):
        return None
    return pair


def _is_float(value: Array) -> bool:
    return value.dtype.kind == "f"
