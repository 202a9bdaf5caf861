"""What the client answers: frozen values, which notebooks show as tables.

Importing this costs neither numpy nor gRPC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .html import LONGEST, Bar, caption, short, table
from .specs import format_shape

if TYPE_CHECKING:
    from .specs import Array

_MOST_ROWS = 200
"""Of a table of examples; the others are counted in its last row."""


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """One version of a model on the server."""

    version: int
    state: str
    """START, LOADING, AVAILABLE, UNLOADING or END."""
    error_code: str
    """`OK`, or the name of the gRPC status with which the version failed to load."""
    error_message: str


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """All versions of a model that the server knows, highest first."""

    model: str
    versions: tuple[VersionStatus, ...]

    @property
    def available(self) -> bool:
        """Whether some version answers predictions."""
        return any(version.state == "AVAILABLE" for version in self.versions)

    def _repr_html_(self) -> str:
        """Return a table, for notebooks."""
        rows = [
            (str(entry.version), entry.state, entry.error_code, entry.error_message)
            for entry in self.versions
        ]
        head = ("version", "state", "code", "message")
        return table(caption(self.model, None, None), head, rows)


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """The answer to one request. Not comparable: its arrays are not."""

    model: str
    version: int | None
    """The version that answered; over REST it is known only if a version was asked for."""
    signature: str
    outputs: Mapping[str, Array]
    """By output name; strings are bytes in arrays of dtype object."""

    def _repr_html_(self) -> str:
        """Return a table, for notebooks."""
        rows = [
            (name, _dtype(array), format_shape(array.shape), _values(array))
            for name, array in self.outputs.items()
        ]
        head = ("output", "dtype", "shape", "values")
        return table(caption(self.model, self.version, self.signature), head, rows)


@dataclass(frozen=True, slots=True)
class Score:
    """One class and how sure the model is of it."""

    class_: int | None
    """None where the model names its classes by text alone: that is `label`."""
    probability: float
    """0..1 for probabilities; if another output was ranked, its number as it is."""
    label: str | None = None
    """Its name, where the labels or the model have one."""


@dataclass(frozen=True, slots=True)
class ExamplePrediction:
    """The answer for one example: a picture, a text, or a row of a file."""

    source: str
    """The path of the file, with the row (`x.npy[3]`) or line (`x.txt:3`) where it has several; of
    a text that was given as such, the text."""
    prediction: Any
    """The output that was asked for, else `predictions`, else the class that the model is surest
    of, else the only output, as plain Python; a dict by name where there are several outputs and
    none of this."""
    model: str
    version: int | None
    """As in `Prediction`."""
    signature: str
    scores: tuple[Score, ...] = field(default=())
    """The classes that the model is surest of, best first; empty when none were asked for."""
    confidence: float | None = None
    """How sure the model is of `prediction`: a `Score.probability`; None if it does not say."""
    label: str | None = None
    """The name of the class `prediction`, where the labels or the model have one."""
    unit: str = ""
    """Of the number `prediction`, where the model says it."""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """What the model gives besides, by name, as plain Python."""
    cells: Mapping[str, str] | None = None
    """The row that was asked, by column, where it was read from a table."""

    def _repr_html_(self) -> str:
        """Return a table, and a bar for each of the surest classes, for notebooks."""
        rows = [("source", short(self.source)), ("prediction", self._answer())]
        rows += [(name, short(value)) for name, value in self.outputs.items()]
        answer = table(caption(self.model, self.version, self.signature), None, rows)
        bars = [
            (_class(score), short(score.label or ""), Bar(score.probability))
            for score in self.scores
        ]
        if not bars and self.confidence is not None:
            bars = [("", "", Bar(self.confidence))]
        return answer + (table(None, None, bars) if bars else "")

    def _answer(self) -> str:
        answer = short(self.prediction) + (f" {self.unit}" if self.unit else "")
        return answer if self.label is None else f"{answer} ({short(self.label)})"

    def _row(self) -> tuple[str | Bar, ...]:
        """Return the cells of this example among others: a bar for how sure the model is."""
        sure = (Bar(self.confidence),) if self.confidence is not None else ("", "")
        return (short(self.source), self._answer(), *sure)


class ExamplePredictions(tuple[ExamplePrediction, ...]):
    """Answers for several examples, which notebooks show as one table.

    `ExamplePredictions(client.predict_files(["digits"], top=3))`
    """

    __slots__ = ()

    def _repr_html_(self) -> str:
        """Return a table with a row for each example, for notebooks."""
        if not self:
            return table("no examples", None, ())
        rows = [example._row() for example in self[:_MOST_ROWS]]
        if len(self) > _MOST_ROWS:
            rows.append((f"and {len(self) - _MOST_ROWS} more",))
        title = caption(self[0].model, self[0].version, self[0].signature)
        return table(title, ("source", "prediction", "", ""), rows)


def _class(score: Score) -> str:
    return "" if score.class_ is None else str(score.class_)


def _dtype(array: Array) -> str:
    return "string" if array.dtype == object else str(array.dtype)


def _values(array: Array) -> str:
    # Not all of millions, of which a few would be shown.
    return short((array if array.size <= LONGEST else array.ravel()[:LONGEST]).tolist())
