"""Files and texts to examples: each kind goes to the signature that takes it.

Pixels of pictures are read by `images`, tables by `tables`; encoded pictures go as they are.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..about import About
from ..errors import FileError, InvalidInput
from ..specs import Signature, TensorSpec
from .choice import Choice, takes_text
from .example import Example, scalar
from .fit import as_row, fit_rows, one_input
from .frames import Frame, Scale, takes_encoded
from .notes import Notes
from .paths import find_files, is_stream, kind_of, kind_of_content
from .streams import as_text, begin, opened, read
from .tables import Table

if TYPE_CHECKING:
    from ..specs import Array

#: Characters of a library's reason that are shown.
_QUOTED = 200

#: The keys of TF Serving's own request bodies.
_ROWS, _COLUMNS = "instances", "inputs"


class Reader:
    """Reads files and texts for one model.

    Args:
        choice: which signature each kind goes to.
        notes: told what is taken for granted.
        input: the one that pictures, texts and single arrays go to; absent, the only one.
        about: what the model says of itself.
        scale: the values of black and white in pixels, instead of the model's or the usual ones.
        invert: whether pixels are inverted.
    """

    def __init__(
        self,
        choice: Choice,
        notes: Notes,
        *,
        input: str | None = None,
        about: About | None = None,
        scale: Scale | None = None,
        invert: bool = False,
    ) -> None:
        self._choice = choice
        self._notes = notes
        self._input = input
        self._about = about or About()
        self._scale = scale
        self._invert = invert

    def files(self, paths: Iterable[str | Path]) -> Iterator[Example | FileError]:
        """Yield the examples of `paths`, or in its place the error of one that cannot be read.

        By the end of its name a file is `.npy`: an array; `.json`: a tensor, tensors by input
        name, or the body of a request to TF Serving's REST interface; `.csv`, `.tsv`: a table;
        `.txt`: one text a line. Everything else is a picture, and a folder stands for the pictures
        directly in it. `-` is standard input, whose kind, as that of every pipe, shows in its
        content; one of text is a table if the model takes no text.

        Raises:
            InvalidInput: the model takes nothing of the kind.
        """
        for found in find_files(paths, self._notes):
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
            InvalidInput: the model takes no texts.
        """
        return self._texts((text, text) for text in texts)

    def _texts(self, texts: Iterable[tuple[str, str]]) -> Iterator[Example]:
        """Yield one example for each source and text."""
        signature = self._choice.texts()
        named = [spec for spec in signature.inputs.values() if spec.name == self._input]
        taking = named or [spec for spec in signature.inputs.values() if takes_text(spec)]
        spec = taking[0] if len(taking) == 1 else one_input(signature)
        for source, text in texts:
            yield Example(source, signature, {spec.name: scalar(text.encode())})

    def _file(self, path: str) -> Iterator[Example | FileError]:
        piped = is_stream(path)
        if not piped and kind_of(path) == "picture":
            yield self._picture(path, None)
            return
        with opened(path) as stream:
            kind = kind_of(path)
            if piped:
                head, stream = begin(stream)
                kind = kind_of_content(head)
            if kind == "picture":
                yield self._picture(path, stream.read())
            elif kind == "array":
                yield from self._array(path, stream.read())
            elif kind == "json":
                yield from self._json(path, stream.read())
            else:
                with as_text(path, stream) as text:
                    if kind == "table" or (piped and not self._takes_texts()):
                        table = Table(self._choice, self._notes, self._input, self._about)
                        yield from table.examples(path, text)
                    else:
                        yield from self._lines(path, text)

    def _takes_texts(self) -> bool:
        try:
            self._choice.texts()
        except InvalidInput:
            return False
        return True

    def _picture(self, path: str, content: bytes | None) -> Example:
        try:
            signature = self._choice.pictures()
        except InvalidInput:
            if content is None:
                with opened(path):
                    pass  # Of a name that was mistyped, the model's inputs say nothing.
            raise
        spec = self._picture_input(signature)
        if spec.dtype == "string":
            if self._invert:
                raise InvalidInput(
                    f"Input {spec.name!r} of signature {signature.name!r} takes picture files as "
                    "they are, and the model prepares them. Leave out the inversion, or name a "
                    "signature that takes pixels."
                )
            content = read(path) if content is None else content
            if not content:
                raise FileError(path, f"{path!r} is empty. Give a picture.")
            return Example(path, signature, {spec.name: scalar(content)})
        from .images import load_picture  # Pillow, which files that go as they are don't need.

        frame = Frame.of(spec)
        scale = self._scale or self._about.input(spec.name).range
        picture = load_picture(path, frame, scale, invert=self._invert, content=content)
        if scale is None and (frame.is_float or frame.usual_scale()[0]):
            low, high = frame.usual_scale()
            self._notes(
                f"Pixels go to input {spec.name!r} ({frame}) as {low:g}..{high:g}: the model does "
                "not say which range it was trained on. If it was another, say it, as in "
                "--scale 0..255 or --scale=-1..1."
            )
        if picture.dark_on_light and spec.name not in self._about.inputs:
            self._notes(
                f"{path!r} is dark on light, and goes so. A model that was trained on light on "
                "dark reads it wrong: --invert yes.",
                "dark on light",
            )
        return Example(path, signature, {spec.name: picture.row})

    def _picture_input(self, signature: Signature) -> TensorSpec:
        if self._input is not None:
            return one_input(signature, self._input)
        encoded = [spec for spec in signature.inputs.values() if takes_encoded(spec)]
        return encoded[0] if len(encoded) == 1 else one_input(signature)

    def _lines(self, path: str, lines: Iterable[str]) -> Iterator[Example]:
        filled = (
            (f"{path}:{number}", line.rstrip("\r\n"))
            for number, line in enumerate(lines, 1)
            if line.strip()
        )
        any_text = False
        for example in self._texts(filled):
            any_text = True
            yield example
        if not any_text:
            raise FileError(path, f"{path!r} holds no text. Write one on each line.")

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
        yield from self._tensors(path, self._choice.tensors(), array)

    def _json(self, path: str, content: bytes) -> Iterator[Example]:
        signature = self._choice.tensors()
        try:
            document = _with_bytes(json.loads(content))
        # RecursionError: brackets nested by the thousand.
        except (ValueError, RecursionError) as exc:
            raise FileError(path, f"{path!r} is not JSON ({exc}). Check its syntax.") from exc
        if isinstance(document, dict):
            signature = self._choice.columns(_input_names(document))
        asked = document.get("signature_name") if isinstance(document, dict) else None
        if asked and "signature_name" not in signature.inputs:
            signature = self._choice.named(str(asked), path)
            del document["signature_name"]
        yield from self._tensors(path, signature, document)

    def _tensors(self, path: str, signature: Signature, value: Any) -> Iterator[Example]:
        try:
            value = _unwrapped(value, signature)
            if not isinstance(value, dict):
                value = {one_input(signature, self._input).name: value}
            arrays, rows, single = fit_rows(signature, value)
        except InvalidInput as exc:
            said = _cure(signature, value) or exc
            raise FileError(path, f"{path!r} does not fit. {said}") from exc
        if rows is None:
            yield Example(path, signature, arrays, whole=True)
            return
        if not rows:
            raise FileError(path, f"{path!r} holds no rows. Put at least one example there.")
        for index in range(rows):
            source = path if single else f"{path}[{index}]"
            # [...] makes even an element of an array of strings an array.
            inputs: dict[str, Array] = {name: array[index, ...] for name, array in arrays.items()}
            yield Example(source, signature, inputs)


def _input_names(document: dict[str, Any]) -> set[str]:
    """Return the names that a JSON object seems to give inputs by; none where it gives a tensor."""
    value = document.get(_COLUMNS, document.get(_ROWS, document))
    if isinstance(value, list):
        value = value[0] if value else {}
    return set(value) if isinstance(value, dict) else set()


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


def _cure(signature: Signature, value: Any) -> str:
    """Return how to give what is one example without its dimension; empty if it is none."""
    row = as_row(signature, value) if isinstance(value, dict) else None
    if row is None:
        return ""
    cure = json.dumps({_ROWS: [row]}, ensure_ascii=False, default=lambda _: {"b64": "..."})
    if len(cure) > _QUOTED:
        cure = "{" + f'"{_ROWS}": [{{"{next(iter(row))}": ..., ...}}]' + "}"
    return (
        "Its inputs lack the first dimension, which counts the examples. Give one example as "
        f"{cure}."
    )


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
