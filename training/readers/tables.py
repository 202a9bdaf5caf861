"""Rows of columns, read in blocks: what CSV and Parquet have in common."""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from training.command_line import TrainingError
from training.readers.examples import Examples, Part, Shuffle, parts_of_blocks
from training.readers.splits import is_held_out
from training.streams import AHEAD, Folder, files

if TYPE_CHECKING:
    import numpy as np

    from training.quiet_tensorflow import tf

Kind = Literal["integer", "float", "text"]
"""int64, float32 or string."""

MOST_VALUES = 1000
"""Of a column of texts, known by name: others are no categories."""


@dataclass(frozen=True)
class Column:
    """What is known of a column."""

    name: str
    kind: Kind
    missing: int = 0
    """How many rows have no value: NaN or an empty text, unless another one was given."""
    values: list[str] | None = None
    """All different texts, sorted, without the empty one; None: numbers, or too many."""
    width: int | None = None
    """How many numbers each row has; None: one value."""


class Table(Examples):
    """Rows: features by column name, and the label int64 or float32 [n], if there is one.

    Args:
        columns: name -> column, in the file's order; the label is not among them.
        label: its column; texts become the number of their class.
        counts: how many rows each block has.
        share: of the rows that are held out.
        held_out: whether these are the examples here.
        stored: whether the files are in a store: blocks are read ahead then.
    """

    def __init__(
        self,
        columns: Mapping[str, Column],
        label: Column | None,
        counts: Sequence[int],
        what: str,
        *,
        share: float,
        seed: int,
        held_out: bool,
        buffer: int,
        stored: bool,
    ) -> None:
        import numpy as np

        starts = np.cumsum([0, *counts], dtype=np.int64)
        self._split = (share, seed, held_out)
        self._blocks = [
            (block, int(start), count)
            for block, (start, count) in enumerate(zip(starts, counts, strict=False))
        ]
        self._counts = [int(self._chosen(start, some).sum()) for _, start, some in self._blocks]
        classes = label.values if label is not None else None
        super().__init__(sum(self._counts), what, classes, buffer)
        self.reads_parts = stored
        self.columns = columns
        """Name -> column of the features."""
        self._label = label

    def _chosen(self, start: int, count: int) -> "np.ndarray[Any, Any]":
        """Return which of the rows from `start` on are in this set: bool [count]."""
        import numpy as np

        share, seed, held_out = self._split
        found: np.ndarray[Any, Any] = (
            is_held_out(np.arange(start, start + count, dtype=np.int64), share, seed) == held_out
        )
        return found

    @abstractmethod
    def _block(self, number: int) -> Mapping[str, "np.ndarray[Any, Any]"]:
        """Return all rows of a block: name -> values of the type that the column's kind has."""

    def _references(self, shuffled: Shuffle, part: Part | None) -> "tf.data.Dataset":
        from training.quiet_tensorflow import tf

        types = {"integer": tf.int64, "float": tf.float32, "text": tf.string}
        columns = [*self.columns.values(), *([self._label] if self._label else [])]
        dtypes = [types[column.kind] for column in columns]
        if self._label is not None and self.classes is not None:
            dtypes[-1] = tf.int64

        def rows(*place: "tf.Tensor") -> Any:
            found = tf.numpy_function(self._rows, place, dtypes)
            for values, column in zip(found, columns, strict=True):
                values.set_shape([None] if column.width is None else [None, column.width])
            return tuple(found)

        blocks = shuffled(tf.data.Dataset.range(len(self._blocks)), len(self._blocks))
        places = parts_of_blocks(blocks, self._counts, part)
        if self.reads_parts:
            found = places.map(rows, AHEAD, deterministic=True)
        else:
            found = places.map(rows)
        return found.flat_map(lambda *values: tf.data.Dataset.from_tensor_slices(values))

    def _rows(self, number: int, skip: int, take: int) -> "list[np.ndarray[Any, Any]]":
        """Return some rows of a block that are in this set, column by column."""
        import numpy as np

        block, start, count = self._blocks[int(number)]
        chosen = np.flatnonzero(self._chosen(start, count))[skip : skip + take]
        found = self._block(block)
        values = [found[name][chosen] for name in self.columns]
        if self._label is not None:
            labels = found[self._label.name][chosen]
            if self.classes is not None:
                numbers = {name.encode(): place for place, name in enumerate(self.classes)}
                labels = np.array([numbers[label] for label in labels], np.int64)
            values.append(labels)
        return values

    def _batches(self, references: "tf.data.Dataset", size: int) -> "tf.data.Dataset":
        names = list(self.columns)

        def named(*values: "tf.Tensor") -> Any:
            features = dict(zip(names, values, strict=False))
            return features if self._label is None else (features, values[-1])

        return references.batch(size).map(named)


def asked_columns(
    there: Sequence[str],
    columns: Collection[str] | None,
    label: str | None,
    named: Collection[str],
    what: str,
) -> list[str]:
    """Return the columns that are read, the label's among them, in the file's order.

    Args:
        there: all of the file's.
        columns: the features that are asked for; None: all.
        label: the one to predict.
        named: those that something else is said of.

    Raises:
        TrainingError: one that is named is not there.
    """
    asked = {*(there if columns is None else columns), *([label] if label else [])}
    if unknown := sorted({*asked, *named} - set(there)):
        raise TrainingError(
            f"{what} has no column {unknown[0]!r}, but {', '.join(there)}. Correct its name."
        )
    return [name for name in there if name in asked]


def chosen_label(
    columns: Mapping[str, Column], label: str | None, what: str
) -> tuple[dict[str, Column], Column | None]:
    """Return the columns without the label, and the label's.

    Raises TrainingError when it misses values, or has texts of too many kinds.
    """
    if label is None:
        return dict(columns), None
    found = columns[label]
    if found.missing:
        raise TrainingError(
            f"{found.missing} rows of {what} have no value in the column {label!r}, which is the "
            "label. Remove these rows, or give them one."
        )
    if found.kind == "text" and (found.values is None or len(found.values) < 2):
        number = f"more than {MOST_VALUES}" if found.values is None else f"{len(found.values)}"
        raise TrainingError(
            f"The label {label!r} of {what} is a text with {number} different values. "
            "A classifier needs 2 classes at least; for a number, correct the values that are none."
        )
    return {name: column for name, column in columns.items() if name != label}, found


def files_of(folder: Folder, pattern: str, what: str) -> list[Folder]:
    """Return the files that match a glob, sorted by path; raise TrainingError if there are none."""
    found = files(folder, pattern)
    if not found:
        raise TrainingError(
            f"{what} has no files {pattern!r}. Put some there, or correct the name."
        )
    return found
