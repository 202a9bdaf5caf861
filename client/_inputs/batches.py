"""Many examples in few requests, in their order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import FileError
from .example import Example

if TYPE_CHECKING:
    from ..specs import Array

#: Enough to make the cost of a request small; TF Serving refuses more than 1,000 rows where it
#: batches (`max_batch_size`).
ROWS_PER_REQUEST = 256
#: Encoded files have no size of their own: gRPC takes no more than 2 GiB, and proxies less.
BYTES_PER_REQUEST = 64 << 20


@dataclass(slots=True)
class Limit:
    """How many rows go in one request; what the server doesn't take makes it lower."""

    rows: int


def batches(
    examples: Iterable[Example | FileError], limit: Limit
) -> Iterator[list[Example | FileError]]:
    """Yield `examples` in lists, in their order; the examples of each go in one request.

    Errors stay where they are among them.
    """
    batch: list[Example | FileError] = []
    last: Example | None = None
    count = size = 0
    for example in examples:
        if isinstance(example, Example):
            if last is not None and (
                count >= min(limit.rows, _fixed(last))
                or size + example.size > BYTES_PER_REQUEST
                or not _stackable(last, example)
            ):
                yield batch
                batch, last, count, size = [], None, 0, 0
            last = example
            count += 1
            size += example.size
        batch.append(example)
        if len(batch) >= 2 * limit.rows:  # Errors must not pile up either.
            yield batch
            batch, last, count, size = [], None, 0, 0
    if batch:
        yield batch


def stack(batch: Sequence[Example]) -> dict[str, Array]:
    """Return the inputs of one request, by name."""
    if batch[0].whole:
        return dict(batch[0].inputs)
    return {name: np.stack([example.inputs[name] for example in batch]) for name in batch[0].inputs}


def _fixed(example: Example) -> int:
    """Return the number of rows that the signature takes, if it takes one number only."""
    specs = example.signature.inputs.values()
    fixed = {spec.shape[0] for spec in specs if spec.shape} - {None}
    return min((size for size in fixed if size), default=ROWS_PER_REQUEST**4)


def _stackable(one: Example, other: Example) -> bool:
    """Whether both go into one request: models may take rows of any length, but not mixed."""
    if one.whole or other.whole or one.signature.name != other.signature.name:
        return False
    return {name: row.shape for name, row in one.inputs.items()} == {
        name: row.shape for name, row in other.inputs.items()
    }
