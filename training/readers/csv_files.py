"""CSV files as tables: header, kinds of columns and missing values found, read in blocks."""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

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
from training.streams import Folder, opened

if TYPE_CHECKING:
    import numpy as np

MISSING = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "NULL"})
"""Values that say that there is none."""

_BLOCK_ROWS = 4096
# A text may be long. This many characters, the csv module takes for a quote that does not end.
_LONGEST_VALUE = 2**27
_LONGEST_LINE = 2**27
"""In bytes. A file without ends of lines would fill the memory, packed by gzip without any size."""
# A number that begins with a needless zero is a code, of a place or an article.
_INTEGER = re.compile(r"[+-]?(0|[1-9]\d{0,17})").fullmatch
_FLOAT = re.compile(
    r"[+-]?(((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?|inf|infinity)", re.IGNORECASE
).fullmatch


@dataclass(frozen=True)
class _Block:
    """Rows that follow each other in a file."""

    file: Folder
    offset: int
    """Of the first row, in bytes."""
    size: int
    """Bytes of all its rows."""
    line: int
    """Of the first row, from 1."""
    rows: int


class CsvTable(Table):
    """Rows of CSV files; blocks of 4,096 are read when they are needed. A gzip file is one block.

    Args:
        places: name -> the column's place in a row.
    """

    def __init__(
        self,
        columns: Mapping[str, Column],
        label: Column | None,
        blocks: Sequence[_Block],
        what: str,
        *,
        places: Mapping[str, int],
        missing: Mapping[str, Any],
        missing_values: Collection[str],
        delimiter: str,
        **split: Any,
    ) -> None:
        super().__init__(columns, label, [block.rows for block in blocks], what, **split)
        self._files = blocks
        read = {**columns, **({label.name: label} if label else {})}
        self._read = [(places[name], column) for name, column in read.items()]
        self._missing, self._missing_values = missing, missing_values
        self._delimiter = delimiter

    def _block(self, number: int) -> "Mapping[str, np.ndarray[Any, Any]]":
        block = self._files[number]
        with _opened(block.file) as file:
            file.seek(block.offset)
            lines = io.BytesIO(file.read(block.size))
            rows = csv.reader(_text(lines, block.file, self._what), delimiter=self._delimiter)
            some = [row for _, row in zip(range(block.rows), filter(None, rows), strict=False)]
        return {
            column.name: _array(
                [row[place].strip() for row in some],
                column.kind,
                self._missing.get(column.name),
                self._missing_values,
            )
            for place, column in self._read
        }


def read(
    folder: Folder,
    pattern: str = "*.csv*",
    *,
    label: str | None = None,
    columns: Collection[str] | None = None,
    types: Mapping[str, Kind] | None = None,
    names: Sequence[str] | None = None,
    missing: Mapping[str, Any] | None = None,
    missing_values: Collection[str] = MISSING,
    delimiter: str = ",",
    validation: float = 0.2,
    seed: int = 0,
    buffer: int = 10_000,
    url: str | None = None,
) -> tuple[CsvTable, CsvTable]:
    """Return the rows to train with, and those that are held out.

    All rows are looked at once. A column of whole numbers is int64; of numbers, or of whole numbers
    some of which are missing, float32; any other has texts, as has one whose numbers begin with
    needless zeros. Space around values doesn't count. A text label becomes the number of its class.

    Args:
        pattern: of the files in `folder`, as a glob; `**/` for folders in it. Those that end with
            `.gz` are unpacked. All have the same header.
        label: the column to predict.
        columns: which features are read; default: all but the label.
        types: column -> `integer`, `float` or `text`, whatever its values look like.
        names: of the columns, of files without a header.
        missing: column -> what stands for a missing value; default: NaN, or an empty text.
        missing_values: what says that there is none.
        validation: the share of the rows that is held out, from 0 to below 1.
        seed: which ones.
        buffer: how many rows are shuffled among each other; blocks are shuffled before that.
        url: how the user called the folder, for errors.

    Raises:
        TrainingError: no files, another header, a row of another length, a value of another kind.
    """
    check_share(validation)
    csv.field_size_limit(max(_LONGEST_VALUE, csv.field_size_limit()))
    what = called(folder, url)
    files = files_of(folder, pattern, what)
    header = list(names) if names is not None else _header(files[0], delimiter, what)
    scan = _Scan(header, delimiter, names is None, frozenset(missing_values), types or {}, what)
    blocks = [block for file in files for block in scan.blocks(file)]
    if not blocks:
        raise TrainingError(f"The files {pattern!r} in {what} have no rows. Give them some.")
    asked = asked_columns(header, columns, label, {**(types or {}), **(missing or {})}, what)
    found = scan.columns(missing or {})
    features, target = chosen_label({name: found[name] for name in asked}, label, what)
    places = {name: place for place, name in enumerate(header)}
    training, held_out = (
        CsvTable(
            features,
            target,
            blocks,
            what,
            places=places,
            missing=missing or {},
            missing_values=scan.missing,
            delimiter=delimiter,
            share=validation,
            seed=seed,
            held_out=held,
            buffer=buffer,
            stored=is_stored(folder),
        )
        for held in (False, True)
    )
    return training, held_out


@dataclass
class _Found:
    """What the rows so far say of a column."""

    kind: Kind = "integer"
    missing: int = 0
    values: set[str] | None = field(default_factory=set)


class _Scan:
    """Looks at every row once: kinds of the columns, faults, and where blocks begin."""

    def __init__(
        self,
        header: Sequence[str],
        delimiter: str,
        has_header: bool,
        missing: frozenset[str],
        types: Mapping[str, Kind],
        what: str,
    ) -> None:
        self._header, self._delimiter, self._has_header = header, delimiter, has_header
        self.missing, self._types, self._what = missing, types, what
        self._found = {name: _Found(types.get(name, "integer")) for name in header}

    def blocks(self, file: Folder) -> Iterator[_Block]:
        most = _BLOCK_ROWS if file.suffix != ".gz" else None
        if self._has_header and (other := _header(file, self._delimiter, self._what)) != list(
            self._header
        ):
            raise TrainingError(
                f"The header of {file.name!r} in {self._what} is {other}, and that of others "
                f"{list(self._header)}. Give all files the same columns in the same order."
            )
        with _opened(file) as source:
            lines = _Lines(source, file, self._what)
            rows = csv.reader(lines, delimiter=self._delimiter, strict=True)
            if self._has_header:
                next(filter(None, rows))
            while True:
                offset, line = lines.offset, rows.line_num + 1
                some = self._some(rows, file, most)
                if not some:
                    return
                self._look_at(some, file, line)
                yield _Block(file, offset, lines.offset - offset, line, len(some))

    def _some(self, rows: Any, file: Folder, most: int | None) -> list[list[str]]:
        some: list[list[str]] = []
        try:
            for row in rows:
                if row and len(row) != len(self._header):
                    raise TrainingError(
                        f"Line {rows.line_num} of {file.name!r} in {self._what} has {len(row)} "
                        f"values, but there are {len(self._header)} columns. Correct it."
                    )
                if row:
                    some.append(row)
                if len(some) == most:
                    break
        except csv.Error as error:
            raise _not_csv(rows, file, self._what, error) from error
        return some

    def _look_at(self, rows: list[list[str]], file: Folder, line: int) -> None:
        for place, name in enumerate(self._header):
            found = self._found[name]
            values = {row[place].strip() for row in rows}
            if gaps := values & self.missing:
                found.missing += sum(row[place].strip() in gaps for row in rows)
                values -= gaps
            kind = _wider(found.kind, values)
            if kind != found.kind and name in self._types:
                wrong = next(value for value in values if _wider(found.kind, {value}) == kind)
                raise TrainingError(
                    f"The column {name!r} of {file.name!r} in {self._what} has {wrong!r} after "
                    f"line {line - 1}, which is no {found.kind}. Correct it, or its type."
                )
            found.kind = kind
            if found.values is not None:
                found.values |= values
                if len(found.values) > MOST_VALUES:
                    found.values = None

    def columns(self, missing: Mapping[str, Any]) -> dict[str, Column]:
        """Return name -> column, after all blocks were looked at."""
        columns = {}
        for name, found in self._found.items():
            kind = found.kind
            if kind == "integer" and found.missing and not isinstance(missing.get(name), int):
                # NaN is a float.
                kind = "float"
            values = sorted(found.values) if kind == "text" and found.values is not None else None
            columns[name] = Column(name, kind, found.missing, values)
        return columns


def _wider(kind: Kind, values: Collection[str]) -> Kind:
    """Return the narrowest kind, from `kind` on, that all values are of."""
    if kind == "integer" and not all(map(_INTEGER, values)):
        kind = "float"
    if kind == "float" and not all(map(_FLOAT, values)):
        kind = "text"
    return kind


def _array(
    values: list[str], kind: Kind, missing: Any, missing_values: Collection[str]
) -> "np.ndarray[Any, Any]":
    import numpy as np

    if kind == "text":
        gap = "" if missing is None else str(missing)
        encoded = [(gap if value in missing_values else value).encode() for value in values]
        return np.array(encoded, dtype=object)
    if kind == "integer":
        whole = [int(missing if value in missing_values else value) for value in values]
        return np.array(whole, np.int64)
    gap = "nan" if missing is None else missing
    floats = [float(gap if value in missing_values else value) for value in values]
    return np.array(floats, np.float32)


def _header(file: Folder, delimiter: str, what: str) -> list[str]:
    with _opened(file) as source:
        rows = csv.reader(_Lines(source, file, what), delimiter=delimiter)
        try:
            header = [name.strip() for name in next(filter(None, rows), [])]
        except csv.Error as error:
            raise _not_csv(rows, file, what, error) from error
    twice = sorted({name for name in header if header.count(name) > 1})
    if not header or twice or "" in header:
        fault = f"the column {twice[0]!r} twice" if twice else "a column without a name"
        raise TrainingError(
            f"{file.name!r} in {what} has {fault if header else 'no header'}. "
            "Begin it with a line of the columns' names, or give `names`."
        )
    return header


def _not_csv(rows: Any, file: Folder, what: str, error: csv.Error) -> TrainingError:
    if "new-line character" in str(error):
        fault, advice = "lines that end with CR alone", "Save it with LF at the ends of its lines"
        return TrainingError(f"{file.name!r} in {what} has {fault}. {advice}.")
    return TrainingError(
        f"Line {rows.line_num} of {file.name!r} in {what} is not CSV: {error}. Correct it."
    )


def _opened(file: Folder) -> AbstractContextManager[BinaryIO]:
    return opened(file, packed=file.suffix == ".gz")


class _Lines:
    """Lines of a file as text; knows how many bytes it has given."""

    def __init__(self, source: BinaryIO, file: Folder, what: str) -> None:
        self.offset = 0
        self._source, self._file, self._what = source, file, what

    def __iter__(self) -> Iterator[str]:
        try:
            while line := self._source.readline(_LONGEST_LINE):
                if len(line) == _LONGEST_LINE:
                    raise TrainingError(
                        f"{self._file.name!r} in {self._what} has a line of more than "
                        f"{_LONGEST_LINE // 2**20} MiB, which begins with {line[:20]!r}. "
                        "Save it as CSV."
                    )
                begins = b"\xef\xbb\xbf" if self.offset == 0 else b""
                self.offset += len(line)
                yield _decoded(line.removeprefix(begins), self._file, self._what)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise TrainingError(
                f"{self._file.name!r} in {self._what} is not a complete gzip file: {error}. "
                "Write it again, or remove it."
            ) from error


def _text(source: BinaryIO, file: Folder, what: str) -> Iterator[str]:
    return (_decoded(line, file, what) for line in source)


def _decoded(line: bytes, file: Folder, what: str) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise TrainingError(
            f"{file.name!r} in {what} is not UTF-8: {line[:60]!r}. Save it as UTF-8."
        ) from error
