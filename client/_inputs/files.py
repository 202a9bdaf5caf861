"""Files and texts to examples: what kind a file is, and how it is read.

Pictures themselves are read by `images`.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISFIFO
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FileError, InvalidInput
from ..specs import Signature, TensorSpec
from .fit import fit_rows, one_input, takes_text
from .images import Frame, Invert, find_pictures, load_picture

if TYPE_CHECKING:
    from ..specs import Array

STDIN = "-"

#: Characters of a library's reason that are shown.
_QUOTED = 200

_NPY_MAGIC = b"\x93NUMPY"
#: The keys of TF Serving's own request bodies.
_ROWS, _COLUMNS = "instances", "inputs"


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One row of the model's inputs, or, where the model knows no rows, all of a request."""

    source: str
    """What it was read from: a path, one with a row (`x.npy[3]`) or line (`x.txt:3`), a text."""
    inputs: Mapping[str, Array]
    """By input name, of the input's dtype; without the dimension of the examples unless `whole`."""
    inverted: bool = False
    whole: bool = False

    @property
    def size(self) -> int:
        """Bytes of all inputs."""
        return sum(
            array.nbytes
            if array.dtype != object
            else sum(len(item) for item in array.ravel().tolist())
            for array in self.inputs.values()
        )


class Reader:
    """Reads files for one signature.

    Args:
        signature: what will be called.
        input: the input that pictures, texts and single arrays go to; absent, the only one.
        invert: as for `load_picture`.
    """

    def __init__(self, signature: Signature, input: str | None, invert: Invert) -> None:
        self._signature = signature
        self._input = input
        self._invert = invert
        self._frame: Frame | None = None

    def files(self, paths: Iterable[str | Path]) -> Iterator[Example | FileError]:
        """Yield the examples of `paths`, or in its place the error of one that cannot be read.

        By the end of its name a file is `.npy`: an array; `.json`: a tensor, tensors by input
        name, or the body of a request to TF Serving's REST interface; `.txt`: one text a line.
        Everything else is a picture, and a folder stands for the pictures directly in it. `-` is
        standard input, whose kind, as that of every pipe, shows in its content.

        Raises:
            InvalidInput: the signature takes nothing of the kind.
        """
        for found in find_pictures(paths):
            if isinstance(found, FileError):
                yield found
                continue
            try:
                yield from self._file(found)
            except FileError as exc:
                yield exc

    def texts(self, texts: Iterable[str]) -> Iterator[Example]:
        """Yield one example for each text.

        Raises:
            InvalidInput: the input takes no strings.
        """
        spec = self._spec()
        if not self._takes_text():
            raise InvalidInput(
                f"Input {spec.name!r} ({spec}) takes no text. "
                "Take a signature with an input `string [?]`."
            )
        for text in texts:
            yield Example(text, {spec.name: _scalar(text.encode())})

    def _file(self, path: str) -> Iterator[Example]:
        suffix = Path(path).suffix.lower()
        if path == STDIN:
            if sys.stdin is None:
                raise FileError(path, "Standard input is closed. Give it a file, or name one.")
            yield from self._content(path, sys.stdin.buffer.read())
        elif _is_pipe(path):
            yield from self._content(path, _read(path))
        elif suffix == ".npy":
            yield from self._array(path, _read(path))
        elif suffix == ".json":
            yield from self._json(path, _read(path))
        elif suffix == ".txt":
            yield from self._lines(path, _read(path))
        else:
            yield self._picture(path, None)

    def _content(self, source: str, content: bytes) -> Iterator[Example]:
        if content.startswith(_NPY_MAGIC):
            yield from self._array(source, content)
        elif content.lstrip()[:1] in (b"[", b"{"):
            yield from self._json(source, content)
        elif _is_text(content) and self._takes_text():
            yield from self._lines(source, content)
        else:
            yield self._picture(source, content)

    def _spec(self) -> TensorSpec:
        return one_input(self._signature, self._input)

    def _takes_text(self) -> bool:
        return takes_text(self._spec(), named=self._input is not None)

    def _picture(self, path: str, content: bytes | None) -> Example:
        spec = self._spec()
        if self._input is None and takes_text(spec):
            # Sent all the same, a model of texts would make something up.
            raise FileError(
                path,
                f"{path!r} would go as a picture to input {spec.name!r}, which takes text. Give "
                f"texts (--text, or files of lines that end in .txt), or, if {spec.name!r} takes "
                "encoded pictures, name it as the input.",
            )
        self._frame = self._frame or Frame.of(spec)
        picture = load_picture(path, self._frame, self._invert, content)
        return Example(path, {spec.name: picture.row}, picture.inverted)

    def _lines(self, path: str, content: bytes) -> Iterator[Example]:
        try:
            lines = content.decode("utf-8-sig").splitlines()
        except UnicodeDecodeError as exc:
            raise FileError(path, f"{path!r} is not UTF-8 text ({exc}). Save it as such.") from exc
        filled = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
        if not filled:
            raise FileError(path, f"{path!r} holds no text. Write one on each line.")
        for (number, _), example in zip(filled, self.texts(x for _, x in filled), strict=True):
            yield Example(f"{path}:{number}", example.inputs)

    def _array(self, path: str, content: bytes) -> Iterator[Example]:
        try:
            # Pickles run code: an array of objects from a stranger must not.
            array = np.load(io.BytesIO(content), allow_pickle=False)
        except Exception as exc:
            # A damaged header is read as Python, and fails as that may: TokenError, SyntaxError,
            # RecursionError, or MemoryError for a shape that nobody has.
            reason = " ".join(str(exc).split())[:_QUOTED]
            raise FileError(
                path, f"Cannot read array {path!r} ({reason}). Save it with numpy.save."
            ) from exc
        yield from self._tensors(path, array)

    def _json(self, path: str, content: bytes) -> Iterator[Example]:
        try:
            document = _with_bytes(json.loads(content))
        # RecursionError: brackets nested by the thousand.
        except (ValueError, RecursionError) as exc:
            raise FileError(path, f"{path!r} is not JSON ({exc}). Check its syntax.") from exc
        asked = document.get("signature_name") if isinstance(document, dict) else None
        if asked and "signature_name" not in self._signature.inputs:
            if asked != self._signature.name:
                raise FileError(
                    path,
                    f"{path!r} asks for signature {asked!r}, but {self._signature.name!r} is "
                    "called. Name it for the whole call, or take it out of the file.",
                )
            del document["signature_name"]
        yield from self._tensors(path, document)

    def _tensors(self, path: str, value: Any) -> Iterator[Example]:
        try:
            value = _unwrapped(value, self._signature)
            if not isinstance(value, dict):
                value = {self._spec().name: value}
            arrays, rows, single = fit_rows(self._signature, value)
        except InvalidInput as exc:
            raise FileError(path, f"{path!r} does not fit. {exc}") from exc
        if rows is None:
            yield Example(path, arrays, whole=True)
            return
        if not rows:
            raise FileError(path, f"{path!r} holds no rows. Put at least one example there.")
        for index in range(rows):
            source = path if single else f"{path}[{index}]"
            # [...] makes even an element of an array of strings an array.
            yield Example(source, {name: array[index, ...] for name, array in arrays.items()})


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError as exc:
        raise FileError(path, f"There is no file {path!r}. Check the path.") from exc
    except OSError as exc:
        raise FileError(
            path, f"Cannot read {path!r} ({exc.strerror or exc}). Check its permissions."
        ) from exc


def _scalar(value: bytes) -> Array:
    row = np.empty((), object)
    row[()] = value
    return row


def _is_pipe(path: str) -> bool:
    try:
        return S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _is_text(content: bytes) -> bool:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return False
    return all(char.isprintable() or char in "\t\r\n" for char in text)


def _unwrapped(document: Any, signature: Signature) -> Any:
    """Return the tensors in `document`: one, or several by input name."""
    if not isinstance(document, dict) or document.keys() <= signature.inputs.keys():
        return document
    if document.keys() == {_COLUMNS}:
        return document[_COLUMNS]
    if document.keys() == {_ROWS}:
        rows = document[_ROWS]
        if isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows):
            if any(row.keys() != rows[0].keys() for row in rows):
                raise InvalidInput(
                    "Its instances do not all have the same inputs. Give each of them by name."
                )
            return {name: [row[name] for row in rows] for name in rows[0]}
        return rows
    return document


def _with_bytes(value: Any) -> Any:
    """Return `value` with TF Serving's `{"b64": ...}` replaced by the bytes."""
    if isinstance(value, list):
        return [_with_bytes(item) for item in value]
    if isinstance(value, dict):
        if value.keys() == {"b64"} and isinstance(value["b64"], str):
            try:
                return base64.b64decode(value["b64"], validate=True)
            except binascii.Error as exc:
                raise ValueError(f"b64: {exc}") from exc
        return {name: _with_bytes(item) for name, item in value.items()}
    return value
