"""Tables (CSV) to examples: a header that names inputs, or the columns of one input in order."""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from ..about import About
from ..errors import FileError, InvalidInput
from ..specs import Signature, TensorSpec, format_shape
from .choice import Choice
from .example import Example
from .fit import matches, one_input

if TYPE_CHECKING:
    from ..specs import Array
    from .notes import Notes

#: Of the first line the one that is there most often, the first of equals.
_DELIMITERS = ",;\t|"

_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")

#: Characters. A quote that is never closed would take the rest of the table for one cell.
_LONGEST_CELL = 32 << 20

#: Names of columns that are listed in a message.
_SHOWN = 10


class Table:
    """Reads tables for one model.

    Args:
        choice: which signature the columns go to.
        notes: told what becomes of columns and cells that are not as expected.
        input: the one that takes all columns, if one is named.
        about: what the model says of itself.
    """

    def __init__(self, choice: Choice, notes: Notes, input: str | None, about: About) -> None:
        self._choice = choice
        self._notes = notes
        self._input = input
        self._about = about

    def examples(self, path: str, text: TextIO) -> Iterator[Example | FileError]:
        """Yield an example for each row, or the error of a row that can't be one.

        Args:
            path: for errors.
            text: the table, lines as they end there. A part at a time is read.

        Raises:
            FileError: the table has no rows, or its columns are not those of the model.
            InvalidInput: the model has no signature that was asked for.
        """
        rows = _records(path, text)
        try:
            line, header = next(rows)
        except StopIteration:
            raise FileError(path, f"{path!r} is empty. Write a header and rows.") from None
        header = [name.strip() for name in header]
        signature = self._choice.columns(header)
        columns = self._columns(path, header, signature)
        if isinstance(columns, TensorSpec) and _are_numbers(header) and columns.dtype != "string":
            # No header: the first row is one of numbers, as the others.
            rows = _chain((line, header), rows)
            header = [str(index) for index in range(len(header))]
            self._notes(f"{path!r} has no header: its columns go in their order.")
        elif isinstance(columns, TensorSpec):
            some = ", ".join(header[:_SHOWN]) + (", ..." if len(header) > _SHOWN else "")
            self._notes(f"Columns of {path!r} go to input {columns.name!r} in their order: {some}.")
        names = _told_apart(header)
        any_row = False
        for line, cells in rows:
            any_row = True
            source = f"{path}:{line}"
            named = dict(zip(names, cells, strict=False))
            try:
                inputs = self._row(path, header, cells, columns)
            except ValueError as exc:
                error = FileError(path, f"Line {line} of {path!r}: {exc}", source)
                error.cells = named
                yield error
                continue
            yield Example(source, signature, inputs, cells=named)
        if not any_row:
            raise FileError(path, f"{path!r} has a header and no rows. Add a row for each example.")

    def _columns(
        self, path: str, header: Sequence[str], signature: Signature
    ) -> TensorSpec | dict[int, TensorSpec]:
        """Return the input that takes all columns, or the input of each column by its index.

        Raises:
            FileError: the columns are not those of the model.
        """
        wanted = signature.inputs
        if self._input is None and wanted.keys() <= set(header):
            for name in wanted:
                if header.count(name) > 1:
                    raise FileError(path, f"{path!r} has column {name!r} twice. Leave one out.")
            extra = [name for name in header if name not in wanted]
            if extra:
                names = ", ".join(extra[:_SHOWN]) + (", ..." if len(extra) > _SHOWN else "")
                self._notes(f"Not sent of {path!r}, since the model has no such input: {names}.")
            return {index: wanted[name] for index, name in enumerate(header) if name in wanted}
        takes = ", ".join(f"{spec.name} ({spec})" for spec in wanted.values()) or "nothing"
        try:
            spec = one_input(signature, self._input)
        except InvalidInput:
            missing = [name for name in wanted if name not in header]
            raise FileError(
                path,
                f"{path!r} has no column {', '.join(map(repr, missing))}. Signature "
                f"{signature.name!r} takes {takes}: name the columns so in the first line.",
            ) from None
        row = (None,) if spec.shape is None else spec.shape[1:]
        size = math.prod(n for n in row if n is not None)
        if any(n is None for n in row) or size == len(header):
            return spec
        raise FileError(
            path,
            f"{path!r} has {len(header)} columns, and input {spec.name!r} of signature "
            f"{signature.name!r} takes {format_shape(row)}. Leave out other columns.",
        )

    def _row(
        self,
        path: str,
        header: Sequence[str],
        cells: Sequence[str],
        columns: TensorSpec | dict[int, TensorSpec],
    ) -> dict[str, Array]:
        """Return the inputs of one row.

        Raises:
            ValueError: a cell is not what its input takes; whole sentences.
        """
        if len(cells) != len(header):
            raise ValueError(
                f"it has {len(cells)} cells, the header {len(header)}. Make them as many."
            )
        if isinstance(columns, TensorSpec):
            values = [
                self._value(path, name, cell, columns)
                for name, cell in zip(header, cells, strict=True)
            ]
            row = (columns.shape or (None, None))[1:]
            shape = (-1,) if any(size is None for size in row) else row
            return {columns.name: _array(columns, values, shape, "the row")}
        return {
            spec.name: self._cell(path, header[index], cells[index], spec)
            for index, spec in columns.items()
        }

    def _cell(self, path: str, column: str, cell: str, spec: TensorSpec) -> Array:
        row = (spec.shape or (None,))[1:]
        if all(size == 1 for size in row):
            return _array(spec, [self._value(path, column, cell, spec)], row, f"column {column!r}")
        try:
            values = np.asarray(json.loads(cell), object if spec.dtype == "string" else None)
        except ValueError:
            raise ValueError(
                f"column {column!r} is {cell!r}, and input {spec.name!r} takes {format_shape(row)} "
                "a row. Write it as a JSON list."
            ) from None
        if spec.dtype == "string":
            values = np.array([str(item).encode() for item in values.ravel()], object).reshape(
                values.shape
            )
        if not matches(values.shape, row):
            raise ValueError(
                f"column {column!r} has shape {format_shape(values.shape)}, and input "
                f"{spec.name!r} takes {format_shape(row)}. Write as many values."
            )
        return _array(spec, values.ravel().tolist(), values.shape, f"column {column!r}")

    def _value(self, path: str, column: str, cell: str, spec: TensorSpec) -> Any:
        """Return the value of a cell: bytes for strings, a Python number or truth otherwise."""
        choices = self._about.input(spec.name).choices
        if choices and cell.strip() and not _is_among(cell.strip(), choices):
            some = ", ".join(map(str, choices[:_SHOWN])) + (
                ", ..." if len(choices) > _SHOWN else ""
            )
            self._notes(
                f"{cell!r} in column {column!r} of {path!r} is none of the model's choices: "
                f"{some}.",
                f"choices {column!r} {path!r}",
            )
        if spec.dtype == "string":
            return cell.encode()
        text = cell.strip()
        if spec.dtype == "bool":
            if text.lower() in _TRUE + _FALSE:
                return text.lower() in _TRUE
            raise ValueError(f"column {column!r} is {cell!r}. Write true or false.")
        if not text:
            if "float" in spec.dtype:
                self._notes(f"Empty cells of column {column!r} of {path!r} go as NaN.")
                return math.nan
            raise ValueError(f"column {column!r} is empty, and {spec.dtype} has no value for that.")
        try:
            return int(text) if "int" in spec.dtype else float(text)
        except ValueError:
            pass
        try:
            if "int" in spec.dtype and float(text).is_integer():
                return int(float(text))
            kind = "a whole number" if "int" in spec.dtype else "a number"
        except ValueError:
            kind = "a number"
        hint = " with a point" if "," in text else ""
        raise ValueError(f"column {column!r} is {cell!r}. Write {kind}{hint}.")


def _array(spec: TensorSpec, values: list[Any], shape: Sequence[int | None], where: str) -> Array:
    """Return values as an array of the input's dtype.

    Raises:
        ValueError: one does not fit in it.
    """
    if spec.dtype == "string":
        array = np.empty(len(values), object)
        array[:] = values
    else:
        try:
            dtype = "float32" if spec.dtype == "bfloat16" else spec.dtype
            with np.errstate(over="ignore"):
                array = np.array(values, dtype)
        except (OverflowError, TypeError, ValueError):
            raise ValueError(f"{where} does not fit in {spec.dtype}.") from None
    return array.reshape([-1 if size is None else size for size in shape])


def _records(path: str, text: TextIO) -> Iterator[tuple[int, list[str]]]:
    """Yield each record that is not blank, with the number of its first line.

    Raises:
        FileError: this is no table.
    """
    blank = 0
    first = text.readline()
    while first and not first.strip("\r\n"):
        blank += 1
        first = text.readline()
    delimiter = max(_DELIMITERS, key=first.count)
    # The module's own limit, 128 KiB, is less than a picture's pixels as a list.
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
    reader = csv.reader(itertools.chain([first], text), delimiter=delimiter, strict=True)
    line = blank + 1
    try:
        for record in reader:
            if any(cell.strip() for cell in record):
                yield line, record
            line = blank + reader.line_num + 1
    except csv.Error as exc:
        raise FileError(
            path, f"{path!r} is no table: {exc} (line {blank + reader.line_num}). Check its quotes."
        ) from exc


def _told_apart(header: Sequence[str]) -> list[str]:
    """Return names of columns of which none is there twice: `price`, `price (2)`."""
    names: list[str] = []
    for name in header:
        number = 2
        given = name
        while given in names:
            given = f"{name} ({number})"
            number += 1
        names.append(given)
    return names


def _chain(
    first: tuple[int, list[str]], rest: Iterator[tuple[int, list[str]]]
) -> Iterator[tuple[int, list[str]]]:
    yield first
    yield from rest


def _are_numbers(cells: Sequence[str]) -> bool:
    try:
        for cell in cells:
            float(cell)
    except ValueError:
        return False
    return True


def _is_among(cell: str, choices: Sequence[str | float]) -> bool:
    if cell in map(str, choices):
        return True
    try:
        return float(cell) in choices
    except ValueError:
        return False
