"""Many examples: chosen signatures, requests of many rows, and what becomes of those that fail.

A request that takes too long, or has more rows than the server takes, is halved, and so are those
after it. One that the server refuses is halved until only the examples that it refuses are left, so
that the others are answered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from .._transports.base import Deadline
from ..errors import (
    DeadlineExceeded,
    FileError,
    InvalidInput,
    PredictionError,
    ServerError,
    SettingsError,
)
from ..results import ExamplePrediction
from .core import ClientCore, Steps, Wire

if TYPE_CHECKING:
    from .._inputs.batches import Limit
    from .._inputs.example import Example
    from .._inputs.files import Reader
    from .._inputs.notes import Notes
    from .._outputs.answers import Answers

#: Of a server that batches: TF Serving's own words, and the number of rows that it takes.
_TOO_MANY_ROWS = re.compile(r"larger than maximum input batch size (\d+)")

#: Statuses by which a server refuses what some example of a request holds; over REST every one of
#: TF's own for that is INVALID_ARGUMENT or INTERNAL.
_OF_AN_EXAMPLE = ("INVALID_ARGUMENT", "OUT_OF_RANGE", "INTERNAL", "UNKNOWN", "HTTP 413")

#: When this many examples of one request fail in the same words, it is no matter of examples.
_ALIKE = 32


class ExampleCall:
    """What is common to all requests of one call."""

    def __init__(
        self,
        reader: Reader,
        answers: Answers,
        limit: Limit,
        notes: Notes,
        on_error: Callable[[PredictionError], None] | None,
    ) -> None:
        self.reader = reader
        self.answers = answers
        self.limit = limit
        self.notes = notes
        self.on_error = on_error

    def given(
        self, found: Iterable[ExamplePrediction | PredictionError]
    ) -> Iterator[ExamplePrediction]:
        """Yield the answers, in their order; errors go to whoever takes them, or are raised."""
        for each in found:
            if isinstance(each, ExamplePrediction):
                yield each
            elif self.on_error is None:
                raise each
            else:
                self.on_error(each)


class ExampleCore(ClientCore[Wire]):
    """Adds calls for many examples."""

    def _example_steps(
        self,
        signature: str | None,
        input: str | None,
        output: str | None,
        *,
        top: int,
        labels: Mapping[int, str] | None,
        rows: int | None,
        scale: tuple[float, float] | None,
        invert: bool,
        on_error: Callable[[PredictionError], None] | None,
        on_note: Callable[[str], None] | None,
    ) -> Steps[ExampleCall]:
        """Prepare a call: ask what the model takes now, and read nothing yet."""
        from .._inputs.batches import ROWS_PER_REQUEST, Limit
        from .._inputs.choice import Choice
        from .._inputs.files import Reader
        from .._inputs.notes import Notes
        from .._outputs.answers import Answers

        if rows is not None and rows < 1:
            raise SettingsError(f"Rows {rows} is not a number of rows. Give 1 or more.")
        deadline = Deadline(self.timeout)
        wanted = signature or self.signature
        with self._about(wanted or ""):
            yield from self._fresh_metadata(deadline)
            metadata = yield from self._described(deadline)
        notes = Notes(on_note)
        choice = Choice(metadata, wanted, input=input, output=output, top=top > 0)
        return ExampleCall(
            Reader(choice, notes, input=input, about=metadata.about, scale=scale, invert=invert),
            Answers(notes, about=metadata.about, output=output, top=top, labels=labels),
            Limit(rows or ROWS_PER_REQUEST),
            notes,
            on_error,
        )

    def _next(
        self, reading: Iterator[list[Example | FileError]]
    ) -> list[Example | FileError] | None:
        """Return the next batch, None at the end: errors in reading bear what the client knows."""
        with self._about(self.signature or ""):
            return next(reading, None)

    def _batch_steps(
        self, batch: Sequence[Example | PredictionError], call: ExampleCall
    ) -> Steps[list[ExamplePrediction | PredictionError]]:
        """Return an answer or an error for each of `batch`, in its order."""
        from .._inputs.example import Example

        examples = [each for each in batch if isinstance(each, Example)]
        answered = yield from self._answered(examples, call, halved=False)
        rest = iter(answered)
        return [next(rest) if isinstance(each, Example) else each for each in batch]

    def _answered(
        self, examples: Sequence[Example], call: ExampleCall, *, halved: bool
    ) -> Steps[list[ExamplePrediction | PredictionError]]:
        from .._inputs.batches import stack

        if not examples:
            return []
        signature = examples[0].signature
        with self._about(signature.name):
            try:
                prediction = yield from self._answer_steps(
                    signature, stack(examples), Deadline(self.timeout)
                )
                return list(call.answers.of(examples, prediction))
            except (ServerError, DeadlineExceeded) as exc:
                error = exc
            most = _rows_to_take(error, len(examples))
            if len(examples) > 1 and most:
                if most < call.limit.rows:
                    why = (
                        f"No answer within {self.timeout:g} s"
                        if isinstance(error, DeadlineExceeded)
                        else "The server does not take as much at once"
                    )
                    call.notes(f"{why}: {most} rows go in a request now, not {len(examples)}.")
                    call.limit.rows = most
            elif not isinstance(error, ServerError) or error.code not in _OF_AN_EXAMPLE:
                raise error
            elif len(examples) == 1:
                error.source, error.cells = examples[0].source, examples[0].cells
                return [error]
            else:
                most = -(-len(examples) // 2)
            if not halved:
                yield from self._check_unchanged(examples[0])
        parts = []
        for start in range(0, len(examples), most):
            part = examples[start : start + most]
            parts += yield from self._answered(part, call, halved=True)
        if not halved and len(parts) >= _ALIKE and len(set(map(_words, parts))) == 1:
            raise error
        return parts

    def _check_unchanged(self, example: Example) -> Steps[None]:
        """Say so if the examples are of a signature that the model has no more."""
        used = example.signature
        metadata = yield from self._fresh_metadata(Deadline(self.timeout))
        now = metadata.signatures.get(used.name)
        if now is None or now.inputs != used.inputs:
            raise InvalidInput(
                f"Version {metadata.version} of model {self.model!r} has taken over, and its "
                f"signature {used.name!r} takes other inputs. Begin anew with what is left."
            )


def _rows_to_take(error: PredictionError, rows: int) -> int:
    """Return how many rows to send at once after an error that fewer may not meet; else 0."""
    half = -(-rows // 2)
    if isinstance(error, DeadlineExceeded):
        return half
    assert isinstance(error, ServerError)
    if found := _TOO_MANY_ROWS.search(error.message):
        most = max(int(found[1]), 1)
        return most if most < rows else half
    # HTTP's status for a body that is too large, this server's budget of memory, gRPC's own limit
    # for a message.
    too_large = (
        error.code == "HTTP 413"
        or "for all requests together" in error.message
        and error.code == "INVALID_ARGUMENT"
        or "larger than max" in error.message
        and error.code == "RESOURCE_EXHAUSTED"
    )
    return half if too_large else 0


def _words(found: ExamplePrediction | PredictionError) -> str:
    return "" if isinstance(found, ExamplePrediction) else str(found)
