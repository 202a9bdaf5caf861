"""Many pictures in few requests: what `Client.predict_pictures` does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._exceptions import InvalidInput, PictureError
from ._images import Frame, Invert, Picture, find_pictures, load_picture
from ._inputs import PREDICTIONS, PROBABILITIES, only_input
from ._types import PicturePrediction, Prediction, Score, Signature

if TYPE_CHECKING:
    from ._types import Array

#: Enough to make the cost of a request small; TF Serving refuses more than 1,000 rows where it
#: batches (`max_batch_size`), and 256 pictures of 224x224x3 float32 are 150 MB.
ROWS_PER_REQUEST = 256


def predict_pictures(
    send: Callable[[str, Array], Prediction],
    signature: Signature,
    paths: Iterable[str | Path],
    *,
    invert: Invert,
    top: int,
    on_error: Callable[[PictureError], None] | None,
) -> Iterator[PicturePrediction]:
    """Yield the answers for `paths`; `send` takes the name of the input and its rows."""
    spec = only_input(signature)
    frame = Frame.of(spec)
    rows = (spec.shape[0] if spec.shape else None) or ROWS_PER_REQUEST
    batch: list[Picture] = []
    for found in find_pictures(paths):
        try:
            if isinstance(found, PictureError):
                raise found
            batch.append(load_picture(found, frame, invert))
        except PictureError as exc:
            if on_error is None:
                raise
            on_error(exc)
        if len(batch) == rows:
            yield from _answers(batch, send(spec.name, _stack(batch)), top)
            batch = []
    if batch:
        yield from _answers(batch, send(spec.name, _stack(batch)), top)


def _stack(batch: Sequence[Picture]) -> Array:
    return np.stack([picture.row for picture in batch])


def _answers(
    batch: Sequence[Picture], prediction: Prediction, top: int
) -> Iterator[PicturePrediction]:
    for name, output in prediction.outputs.items():
        if output.shape[:1] != (len(batch),):
            raise InvalidInput(
                f"Output {name!r} has shape {list(output.shape)} for {len(batch)} pictures, not "
                "one row for each. Call Client.predict with arrays, or take another signature."
            )
    for index, picture in enumerate(batch):
        row = {name: output[index] for name, output in prediction.outputs.items()}
        yield PicturePrediction(
            source=picture.source,
            prediction=_answer(row),
            inverted=picture.inverted,
            model=prediction.model,
            version=prediction.version,
            signature=prediction.signature,
            scores=_best(row[PROBABILITIES], top) if top else (),
        )


def _answer(row: dict[str, Any]) -> Any:
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


def _best(probabilities: Array, count: int) -> tuple[Score, ...]:
    flat = probabilities.ravel().astype(np.float64)
    # Stable, so that equal probabilities come in the order of the classes.
    order = np.argsort(-flat, kind="stable")[:count]
    return tuple(Score(int(index), float(flat[index])) for index in order)
