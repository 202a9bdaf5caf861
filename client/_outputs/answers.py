"""One answer for each example out of the answer to a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._inputs.choice import CLASSES, PREDICTIONS
from ..about import About
from ..errors import InvalidInput
from ..results import ExamplePrediction, Prediction, Score
from .plain import plain
from .ranking import Ranking, find_ranking

if TYPE_CHECKING:
    from .._inputs.example import Example
    from .._inputs.notes import Notes
    from ..specs import Array

#: The name of the class that is the answer, as texts: beside `predictions`, or beside
#: `probabilities` alone.
_LABELS = "labels"


class Answers:
    """Reads the answers of one call, all in the same way.

    Args:
        notes: told what is taken for granted.
        about: what the model says of itself.
        output: the one that is the answer, or with `top` the one that is ranked.
        top: how many classes to add; 0: only the winner's confidence, where there is one.
        labels: names of classes.
    """

    def __init__(
        self,
        notes: Notes,
        *,
        about: About | None = None,
        output: str | None = None,
        top: int = 0,
        labels: Mapping[int, str] | None = None,
    ) -> None:
        self._notes = notes
        self._about = about or About()
        self._output = output
        self._top = top
        self._labels = labels or {}
        #: By signature, since the first answer must not be read in another way than the last.
        self._rankings: dict[str, Ranking | None] = {}

    def of(self, batch: Sequence[Example], prediction: Prediction) -> list[ExamplePrediction]:
        """Return what `prediction`, the answer to the request of `batch`, says to each example.

        Raises:
            InvalidInput: an output does not have one row for each example, or can't be ranked.
        """
        outputs = prediction.outputs
        whole = batch[0].whole
        rows = 0 if whole else len(batch)
        shown = {self._output} if self._output else outputs.keys()
        for name in outputs:
            if name in shown and not whole and outputs[name].shape[:1] != (rows,):
                raise InvalidInput(
                    f"Output {name!r} has shape {list(outputs[name].shape)} for {rows} examples, "
                    "not one row for each. Call Client.predict with arrays, or take another "
                    "signature."
                )
        known = {name: value for name, value in outputs.items() if whole or len(value) == rows}
        ranking = None if whole else self._ranking(prediction.signature, known)
        names = self._names(ranking)
        return [
            self._answer(
                example,
                prediction,
                known if whole else {name: value[index] for name, value in known.items()},
                ranking,
                names,
            )
            for index, example in enumerate(batch)
        ]

    def _ranking(self, signature: str, outputs: Mapping[str, Array]) -> Ranking | None:
        if signature not in self._rankings:
            found = find_ranking(outputs, self._about, self._output, asked=self._top > 0)
            self._rankings[signature] = found
            if found is not None and found.guessed:
                self._notes(
                    f"Output {found.confidences!r} is read as a number for each class, which the "
                    f"model does not say. --output {found.confidences} shows it as it is."
                )
            if self._labels and not self._names_something(found, outputs):
                given = ", ".join(sorted(outputs))
                self._notes(
                    f"The labels have no effect: nothing of what signature {signature!r} gives "
                    f"({given}) is a class. Name one with --output."
                )
        return self._rankings[signature]

    def _names_something(self, ranking: Ranking | None, outputs: Mapping[str, Array]) -> bool:
        """Return whether labels can name anything of these outputs."""
        if ranking is not None:
            return ranking.classes is None or outputs[ranking.classes].dtype.kind in "iu"
        shown = [self._output] if self._output else [PREDICTIONS, *CLASSES]
        found = [outputs[name] for name in shown if name in outputs]
        found += outputs.values() if len(outputs) == 1 and not self._output else ()
        return any(value.ndim == 1 and value.dtype.kind in "iu" for value in found)

    def _names(self, ranking: Ranking | None) -> dict[int, str]:
        """Return the names of classes that the model or the user gives."""
        names: dict[int, str] = {}
        told = [PREDICTIONS, self._output, ranking and ranking.confidences]
        told.append(ranking and ranking.classes)
        for output in told:
            if output:
                names |= dict(enumerate(self._about.output(output).labels))
        return names | dict(self._labels)

    def _answer(
        self,
        example: Example,
        prediction: Prediction,
        row: Mapping[str, Any],
        ranking: Ranking | None,
        names: Mapping[int, str],
    ) -> ExamplePrediction:
        said, rest = self._said(row, ranking)
        scores: list[Score] = []
        label = None
        if type(said) is int:
            if PREDICTIONS in row and _is_text(row.get(_LABELS)):
                # A name for the answered class only.
                names = {said: plain(row[_LABELS]), **names}
            label = names.get(said)
        if ranking is not None:
            # The class that is the answer need not be the surest one.
            scores = ranking.best(row, max(self._top, 1), names)
            if said is None:
                said, label = scores[0].class_, scores[0].label
                if label is None and ranking.classes is None and _is_text(row.get(_LABELS)):
                    label = plain(row[_LABELS])
                if said is None:
                    said, label = label, None
        return ExamplePrediction(
            source=example.source,
            prediction=said,
            model=prediction.model,
            version=prediction.version,
            signature=prediction.signature,
            scores=tuple(scores) if self._top else (),
            confidence=_confidence(row, ranking, said, scores),
            label=label,
            unit=self._unit(row),
            outputs=rest,
            cells=example.cells,
        )

    def _said(self, row: Mapping[str, Any], ranking: Ranking | None) -> tuple[Any, dict[str, Any]]:
        """Return the answer (None: the best of the ranking) and the other outputs."""
        if self._output is not None:
            if ranking is not None:
                return None, {}
            return plain(row[self._output]), {}
        ranked = set() if ranking is None else {ranking.confidences, ranking.classes}
        if PREDICTIONS in row and (ranking is None or ranking.classes is None):
            rest = {name for name in row if name not in (ranked | {PREDICTIONS, _LABELS})}
            return plain(row[PREDICTIONS]), {name: plain(row[name]) for name in sorted(rest)}
        if ranking is not None and ranking.classes is None and _is_text(row.get(_LABELS)):
            ranked |= {_LABELS}
        if ranking is not None and row.keys() <= ranked:
            return None, {}
        if len(row) == 1:
            return plain(*row.values()), {}
        return {name: plain(value) for name, value in row.items()}, {}

    def _unit(self, row: Mapping[str, Any]) -> str:
        shown = self._output or (PREDICTIONS if PREDICTIONS in row else None)
        if shown is None and len(row) == 1:
            shown = next(iter(row))
        return self._about.output(shown).unit if shown else ""


def _is_text(value: Any) -> bool:
    return isinstance(plain(value), str)


def _confidence(
    row: Mapping[str, Any], ranking: Ranking | None, said: Any, scores: Sequence[Score]
) -> float | None:
    """Return how sure the model is of what it said; None where it says nothing of that."""
    if ranking is None:
        return None
    confidences = np.asarray(row[ranking.confidences]).ravel()
    if ranking.classes is None and type(said) is int:
        return float(plain(confidences[said])) if 0 <= said < len(confidences) else None
    return scores[0].probability if scores else None
