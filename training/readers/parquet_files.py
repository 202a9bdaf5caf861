"""Parquet files as tables, read by row groups. Needs pyarrow."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from training.command_line import TrainingError
from training.readers.examples import called, is_stored
from training.readers.splits import check_share
from training.readers.tables import (
    MOST_VALUES,
    Column,
    Kind,
    Table,
    asked_columns,
    chosen_label,
    files_of,
)
from training.streams import Folder, StoredPath

if TYPE_CHECKING:
    import numpy as np


_Group = tuple[Folder, Any, int]


class ParquetTable(Table):
    """Rows of Parquet files; one row group is in memory at a time.

    Args:
        groups: file, what Parquet says of it at its end, and number of each row group.
    """

    def __init__(
        self,
        columns: Mapping[str, Column],
        label: Column | None,
        groups: Sequence[_Group],
        counts: Sequence[int],
        what: str,
        *,
        missing: Mapping[str, Any],
        **split: Any,
    ) -> None:
        super().__init__(columns, label, counts, what, **split)
        self._groups, self._missing = groups, missing
        self._read = [*columns.values(), *([label] if label else [])]

    def _block(self, number: int) -> "Mapping[str, np.ndarray[Any, Any]]":
        file, metadata, group = self._groups[number]
        names = [column.name for column in self._read]
        with _complete(file, self._what), _opened(file, metadata) as opened:
            found = opened.read_row_group(group, columns=names)
        return {
            column.name: _array(found.column(column.name), column, self._missing.get(column.name))
            for column in self._read
        }


def read(
    folder: Folder,
    pattern: str = "*.parquet",
    *,
    label: str | None = None,
    columns: Collection[str] | None = None,
    missing: Mapping[str, Any] | None = None,
    validation: float = 0.2,
    seed: int = 0,
    buffer: int = 10_000,
    url: str | None = None,
) -> tuple[ParquetTable, ParquetTable]:
    """Return the rows to train with, and those that are held out.

    Whole numbers, truth values, dates and times (seconds since 1970) are int64; other numbers, and
    whole ones some of which are missing, are float32; texts, bytes and categories are strings;
    lists of as many numbers each are float32 [n, width]. A text label becomes its class's number.

    Args:
        pattern: of the files in `folder`, as a glob; `**/` for folders in it. All have the same
            columns.
        label: the column to predict.
        columns: which features are read; default: all but the label.
        missing: column -> what stands for a missing value; default: NaN, or an empty text.
        validation: the share of the rows that is held out, from 0 to below 1.
        seed: which ones.
        buffer: how many rows are shuffled among each other; row groups are shuffled before that.
        url: how the user called the folder, for errors.

    Raises:
        TrainingError: no pyarrow, no files, one that is not Parquet, a column of a type that is
            none of the above.
    """
    check_share(validation)
    _pyarrow_parquet()
    what = called(folder, url)
    schema: Any = None
    groups: list[_Group] = []
    counts: list[int] = []
    for file in files_of(folder, pattern, what):
        with _complete(file, what), _opened(file) as opened:
            metadata, here = opened.metadata, opened.schema_arrow
        schema = here if schema is None else schema
        if (here.names, here.types) != (schema.names, schema.types):
            raise TrainingError(
                f"{file.name!r} in {what} has other columns than {groups[0][0].name!r}, or of "
                "other types. Give all files the same."
            )
        for number in range(metadata.num_row_groups):
            if rows := metadata.row_group(number).num_rows:
                groups.append((file, metadata, number))
                counts.append(rows)
    if not groups:
        raise TrainingError(f"The files {pattern!r} in {what} have no rows. Give them some.")
    found = {
        name: _column(schema.field(name), groups, (missing or {}).get(name), what)
        for name in asked_columns(schema.names, columns, label, missing or {}, what)
    }
    features, target = chosen_label(found, label, what)
    training, held_out = (
        ParquetTable(
            features,
            target,
            groups,
            counts,
            what,
            missing=missing or {},
            share=validation,
            seed=seed,
            held_out=held,
            buffer=buffer,
            stored=is_stored(folder),
        )
        for held in (False, True)
    )
    return training, held_out


def _pyarrow_parquet() -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise TrainingError(
            "Parquet files are read by pyarrow, which is not installed. Write 'pyarrow' in a "
            "requirements.txt beside the boot file, or give CSV files."
        ) from error
    return parquet


@contextmanager
def _opened(file: Folder, metadata: Any = None) -> Iterator[Any]:
    """Yield a ParquetFile. With `metadata` its end is not read again."""
    parquet = _pyarrow_parquet().ParquetFile
    if not isinstance(file, StoredPath):
        with parquet(file, metadata=metadata) as opened:
            yield opened
        return
    # Columns that lie beside each other come by one request.
    with file.open("rb") as source, parquet(source, metadata=metadata, pre_buffer=True) as opened:
        yield opened


@contextmanager
def _complete(file: Folder, what: str) -> Iterator[None]:
    """Say in words what pyarrow finds wrong with a file."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError) as error:
        fault = " ".join(str(error).split()).rstrip(".")
        raise TrainingError(
            f"{file.name!r} in {what} is not a complete Parquet file: {fault}. "
            "Write it again, or remove it."
        ) from error


def _column(field: Any, groups: Sequence[_Group], missing: Any, what: str) -> Column:
    """Return what is known of a column: by the files' statistics, or by its values."""
    from pyarrow import types

    kind, width = _kind(field.type, types), None
    if types.is_fixed_size_list(field.type) and _kind(field.type.value_type, types) != "text":
        kind, width = "float", field.type.list_size
    if kind is None:
        raise TrainingError(
            f"The column {field.name!r} of {what} has the type {field.type}, which is none of "
            "numbers, times, texts and lists of a fixed size. Give `columns` without it, or "
            "convert it."
        )
    gaps, values = 0, set[str]()
    for file, metadata, number in groups:
        group = metadata.row_group(number)
        chunks = [group.column(place) for place in range(group.num_columns)]
        statistics = next(
            (chunk.statistics for chunk in chunks if chunk.path_in_schema == field.name), None
        )
        if statistics is None or not statistics.has_null_count or kind == "text":
            with _complete(file, what), _opened(file, metadata) as opened:
                found = opened.read_row_group(number, columns=[field.name]).column(0)
            gaps += found.null_count
            # One more says that there are too many.
            if kind == "text" and len(values) <= MOST_VALUES:
                values |= {_text(value) for value in found.unique().drop_null().to_pylist()}
        else:
            gaps += statistics.null_count
    if kind == "integer" and gaps and not isinstance(missing, int):
        # NaN is a float.
        kind = "float"
    if width is not None and gaps:
        raise TrainingError(
            f"The column {field.name!r} of {what} has lists, and none in {gaps} rows. Give these "
            "rows one, or give `columns` without it."
        )
    few = kind == "text" and len(values) <= MOST_VALUES
    return Column(field.name, kind, gaps, sorted(values - {""}) if few else None, width)


def _kind(dtype: Any, types: Any) -> Kind | None:
    if types.is_dictionary(dtype):
        return _kind(dtype.value_type, types)
    whole = (types.is_boolean, types.is_integer, types.is_timestamp, types.is_date)
    if any(is_it(dtype) for is_it in whole):
        return "integer"
    if types.is_floating(dtype) or types.is_decimal(dtype):
        return "float"
    texts = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)
    return "text" if any(is_it(dtype) for is_it in texts) else None


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _array(found: Any, column: Column, missing: Any) -> "np.ndarray[Any, Any]":
    import numpy as np
    import pyarrow
    from pyarrow import compute, types

    if types.is_dictionary(found.type):
        found = found.cast(found.type.value_type)
    if column.width is not None:
        flat = found.combine_chunks().flatten().cast(pyarrow.float32())
        rows: np.ndarray[Any, Any] = flat.to_numpy(zero_copy_only=False)
        return rows.reshape(-1, column.width)
    if column.kind == "text":
        gap = "" if missing is None else missing
        values = [gap if value is None else value for value in found.to_pylist()]
        encoded = [value if isinstance(value, bytes) else str(value).encode() for value in values]
        return np.array(encoded, dtype=object)
    if types.is_timestamp(found.type) or types.is_date(found.type):
        found = found.cast(pyarrow.timestamp("s"), safe=False).cast(pyarrow.int64())
    if column.kind == "integer":
        whole = found.cast(pyarrow.int64())
        if column.missing:
            whole = compute.fill_null(whole, int(missing))
        result: np.ndarray[Any, Any] = whole.to_numpy()
        return result
    floats = found.cast(pyarrow.float64())
    floats = compute.fill_null(floats, float("nan") if missing is None else float(missing))
    return np.asarray(floats.to_numpy(), np.float32)
