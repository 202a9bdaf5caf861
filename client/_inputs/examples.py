"""Many examples in few requests: what `Client.predict_files` and `predict_texts` do.

An example is one row of the model's inputs: a picture, a text, or a row of a tensor file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FileError, InvalidInput
from ..results import ExamplePrediction, Prediction, Score
from ..specs import Signature
from .files import Example
from .fit import LABELS, PREDICTIONS, PROBABILITIES

if TYPE_CHECKING:
    from ..specs import Array

#: Enough to make the cost of a request small; TF Serving refuses more than 1,000 rows where it
#: batches (`max_batch_size`).
ROWS_PER_REQUEST = 256
#: Encoded files have no size of their own: gRPC takes no more than 2 GiB, and proxies less.
BYTES_PER_REQUEST = 64 << 20


def batches(
    examples: Iterable[Example | FileError],
    signature: Signature,
    on_error: Callable[[FileError], None] | None,
) -> Iterator[list[Example]]:
    """Yield `examples` in lists, in their order; each list goes in one request.

    Raises:
        FileError: the first one among the examples, unless `on_error` takes them.
    """
    fixed = {spec.shape[0] for spec in signature.inputs.values() if spec.shape} - {None}
    most = min((size for size in fixed if size), default=ROWS_PER_REQUEST)
    batch: list[Example] = []
    size = 0
    for example in examples:
        if isinstance(example, FileError):
            if on_error is None:
                raise example
            on_error(example)
            continue
        if batch and (
            len(batch) == most
            or size + example.size > BYTES_PER_REQUEST
            or example.whole
            or not _stackable(batch[-1], example)
        ):
            yield batch
            batch, size = [], 0
        batch.append(example)
        size += example.size
    if batch:
        yield batch


def stack(batch: Sequence[Example]) -> dict[str, Array]:
    """Return the inputs of one request, by name."""
    if batch[0].whole:
        return dict(batch[0].inputs)
    return {name: np.stack([example.inputs[name] for example in batch]) for name in batch[0].inputs}


def answers(
    batch: Sequence[Example],
    prediction: Prediction,
    *,
    output: str | None,
    top: int,
    labels: Mapping[int, str],
) -> Iterator[ExamplePrediction]:
    """Yield what `prediction`, the answer to the request of `batch`, says to each example.

    Raises:
        InvalidInput: an output does not have one row for each example.
    """
    ranked = (output or PROBABILITIES) if top else None
    wanted = {output} if output else prediction.outputs.keys()
    outputs = {name: value for name, value in prediction.outputs.items() if name in wanted}
    for name, value in outputs.items():
        if not batch[0].whole and value.shape[:1] != (len(batch),):
            raise InvalidInput(
                f"Output {name!r} has shape {list(value.shape)} for {len(batch)} examples, not "
                "one row for each. Call Client.predict with arrays, or take another signature."
            )
    names = None if output not in (None, PREDICTIONS) else _names(prediction, len(batch))
    for index, example in enumerate(batch):
        row = outputs if example.whole else {name: out[index] for name, out in outputs.items()}
        answer = None if ranked and output else _answer(row)
        known = labels
        if names is not None and type(answer) is int:
            known = {answer: _plain(names[index]), **labels}
        scores = _best(row[ranked], top, known) if ranked else ()
        if answer is None:
            # An output that was asked for to be ranked is a list of numbers: its best is it.
            answer = scores[0].class_ if scores else None
        yield ExamplePrediction(
            source=example.source,
            prediction=answer,
            inverted=example.inverted,
            model=prediction.model,
            version=prediction.version,
            signature=prediction.signature,
            scores=scores,
            label=known.get(answer) if type(answer) is int else None,
        )


def _names(prediction: Prediction, rows: int) -> Array | None:
    """Return the names of the answered classes, where the model has an output for them."""
    names = prediction.outputs.get(LABELS)
    if names is None or names.dtype != object or names.shape != (rows,):
        return None
    return names


def _stackable(one: Example, other: Example) -> bool:
    """Whether both go into one request: models may take rows of any length, but not mixed."""
    if one.whole:
        return False
    return {name: row.shape for name, row in one.inputs.items()} == {
        name: row.shape for name, row in other.inputs.items()
    }


def _answer(row: Mapping[str, Any]) -> Any:
    if PREDICTIONS in row:
        return _plain(row[PREDICTIONS])
    if len(row) == 1:
        return _plain(*row.values())
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    """Return a scalar or an array as plain Python, bytes as text."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _best(probabilities: Any, count: int, labels: Mapping[int, str]) -> tuple[Score, ...]:
    try:
        flat = np.asarray(probabilities).ravel().astype(np.float64)
    except ValueError as exc:
        raise InvalidInput(
            "The output to rank holds no numbers. Name another one, or ask for no classes."
        ) from exc
    # Stable, so that equal probabilities come in the order of the classes.
    order = [int(index) for index in np.argsort(-flat, kind="stable")[:count]]
    return tuple(Score(index, float(flat[index]), labels.get(index)) for index in order)
