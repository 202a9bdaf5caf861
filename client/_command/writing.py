"""Answers to a file: a table (CSV) or JSON lines, with a row for each example, errors too.

The file gets its name when all is answered. Until then, and if that never comes, the answers are in
a file of the same name with `.part` at its end.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TextIO

from ..errors import FileError, PredictionError, SettingsError
from ..results import ExamplePrediction
from .output import answer_json

_KINDS = {".csv": "csv", ".jsonl": "lines", ".ndjson": "lines"}


class AnswerFile:
    """Writes a file of answers; use it as a context.

    Args:
        path: ends in `.csv`, `.jsonl` or `.ndjson`.

    Raises:
        SettingsError: it does not.
        FileError: it cannot be written.
    """

    def __init__(self, path: str) -> None:
        kind = _KINDS.get(Path(path).suffix.lower())
        if kind is None:
            raise SettingsError(
                f"{path!r} is no file for answers. Give one that ends in {', '.join(_KINDS)}."
            )
        self._path = path
        self._is_table = kind == "csv"
        self._part = f"{path}.part"
        self._columns: dict[str, str] | None = None
        self._waiting: list[PredictionError] = []
        self.rows = 0
        self.errors = 0
        try:
            # Names of files need not be text.
            self._file: TextIO = open(  # noqa: SIM115
                self._part, "w", encoding="utf-8", errors="surrogateescape", newline=""
            )
        except OSError as exc:
            raise self._unwritable(exc) from exc
        self._rows = csv.writer(self._file, lineterminator="\n")

    def answer(self, answer: ExamplePrediction) -> None:
        """Write an answer."""
        self.rows += 1
        if not self._is_table:
            self._line(answer_json(answer))
            return
        if self._columns is None:
            self._head(answer)
        said = answer.prediction
        values = dict(answer.outputs)
        if isinstance(said, dict) and said.keys() <= (self._columns or {}).keys():
            values |= said
        else:
            values["prediction"] = said
        values |= {
            "source": answer.source,
            "label": answer.label,
            "confidence": answer.confidence,
            "scores": answer_json(answer).get("scores"),
        }
        self._row(answer.cells, values)

    def error(self, error: PredictionError) -> None:
        """Write what became of an example that has no answer."""
        self.rows += 1
        self.errors += 1
        if not self._is_table:
            self._line({"source": error.source, "error": str(error)})
        elif self._columns is None:
            self._waiting.append(error)
        else:
            self._row(error.cells, {"source": error.source, "error": str(error)})

    def _head(self, answer: ExamplePrediction | None) -> None:
        """Write the names of the columns: of a table that is asked, and of the answers."""
        own = ["source"]
        if answer is not None:
            said = answer.prediction
            own += [*(said if isinstance(said, dict) else ["prediction"]), *answer.outputs]
            own += ["label", "confidence"] + (["scores"] if answer.scores else [])
        given = (answer.cells if answer is not None else None) or {}
        # Theirs keep their names, as a column `label` that holds the truth.
        names = {name: f"predicted_{name}" if name in given else name for name in [*own, "error"]}
        self._columns = names
        self._given = list(given)
        self._write([*self._given, *names.values()])
        waiting, self._waiting = self._waiting, []
        for error in waiting:
            self._row(error.cells, {"source": error.source, "error": str(error)})

    def _row(self, cells: Mapping[str, str] | None, values: Mapping[str, Any]) -> None:
        assert self._columns is not None
        given = cells or {}
        self._write(
            [given.get(name, "") for name in self._given]
            + [_cell(values.get(name)) for name in self._columns]
        )

    def _write(self, cells: list[str]) -> None:
        try:
            self._rows.writerow(cells)
        except OSError as exc:
            raise self._unwritable(exc) from exc

    def _line(self, value: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(value, ensure_ascii=False) + "\n")
        except OSError as exc:
            raise self._unwritable(exc) from exc

    def _unwritable(self, error: OSError) -> FileError:
        return FileError(
            self._path,
            f"Cannot write {self._part!r} ({error.strerror or error}). Give a place with room.",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self._is_table and self._columns is None:
                self._head(None)
            self._file.flush()
            if kind is None:
                os.fsync(self._file.fileno())
            self._file.close()
            if kind is None:
                os.replace(self._part, self._path)
            elif not self.rows:
                os.unlink(self._part)
        except OSError as exc:
            if kind is None:
                raise self._unwritable(exc) from exc


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
