"""Predictions for the picture files of a form, by whichever model takes encoded pictures."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import signatures
from .backend import Backend, BackendError
from .refusals import for_people


class UnfitModelError(Exception):
    """The model takes no picture files; the text says what it takes and how to ask it."""


class BadPictureError(Exception):
    """The model refuses a picture; the text names it and says why."""


def predict(
    backend: Backend, names: Sequence[str], pictures: list[bytes], signature: str
) -> tuple[int, dict[str, Any]]:
    """Return the version that answered, and its outputs by name: a row for each picture.

    Blocks. `pictures` is emptied: each is let go as soon as it is encoded for the model server.

    Args:
        names: of the pictures, for errors.
        pictures: whole files, which the model decodes.
        signature: the one to ask; empty: the likeliest of those that take pictures.

    Raises:
        UnfitModelError, BadPictureError: see there.
        BackendError: the model server can't be reached, or refuses for another reason.
    """
    encoded = []
    pictures.reverse()
    while pictures:
        encoded.append(base64.b64encode(pictures.pop()))
    for last_try in (False, True):
        version = backend.state()["version"]
        try:
            known = signatures.of_metadata(backend.metadata(version))
            name, alias = _chosen(backend.model_name, known, signature)
            # By number, so that the answer is known to be this version's.
            ask = _Question(backend, version, name, alias, list(known[name]["outputs"]))
            return version, ask.answers(names, encoded)
        except BackendError as error:
            # A newer version may have taken over in between.
            if last_try or error.status != 404:
                raise
    raise AssertionError("unreachable")


def _chosen(model: str, known: signatures.Signatures, wanted: str) -> tuple[str, str]:
    """Return signature and input for encoded pictures."""
    if wanted == signatures.ABOUT:
        raise UnfitModelError(
            f"Signature '{wanted}' says what model '{model}' is, and takes no pictures. Name one "
            f"of {', '.join(sorted(known))}, or none."
        )
    if wanted and wanted not in known:
        raise UnfitModelError(
            f"Model '{model}' has no signature '{wanted}'. It has {', '.join(sorted(known))}."
        )
    fitting = {name: each for name, each in known.items() if wanted in ("", name)}
    if found := signatures.for_pictures(fitting):
        return found
    described = "; ".join(
        signatures.described(name, each) for name, each in sorted(fitting.items())
    )
    raise UnfitModelError(
        f"Model '{model}' takes no picture files: {described}. Ask it with JSON, "
        f"POST /v1/models/{model}:predict, or on the page, which shows how."
    )


@dataclass(frozen=True)
class _Question:
    """Which pictures go to."""

    backend: Backend
    version: int
    signature: str
    alias: str
    outputs: Sequence[str]

    def answers(self, names: Sequence[str], encoded: Sequence[bytes]) -> dict[str, Any]:
        """Return the outputs by name."""
        try:
            outputs = self.backend.predict(self.version, self._body(encoded))
        except BackendError as error:
            if error.status != 400:
                raise
            if len(encoded) == 1:
                text = f"Picture '{names[0]}' can't be used: {for_people(str(error))}"
                raise BadPictureError(text) from error
        else:
            # REST leaves the name of an only output out.
            return {self.outputs[0]: outputs} if len(self.outputs) == 1 else outputs
        # One by one shows which it is; or the model takes fewer at a time.
        pairs = zip(names, encoded, strict=True)
        return _joined([self.answers([name], [each]) for name, each in pairs])

    def _body(self, encoded: Iterable[bytes]) -> list[bytes]:
        """Return the parts of the JSON, so that no copy of all pictures is made."""
        signature, alias = json.dumps(self.signature), json.dumps(self.alias)
        head = f'{{"signature_name":{signature},"inputs":{{{alias}:['
        return [head.encode(), *_separated(encoded), b"]}}"]


def _separated(encoded: Iterable[bytes]) -> Iterator[bytes]:
    for number, each in enumerate(encoded):
        yield b',{"b64":"' if number else b'{"b64":"'
        yield each
        yield b'"}'


def _joined(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return outputs of several answers as those of one: lists end to end."""
    return {name: [each for row in rows for each in _listed(row[name])] for name in rows[0]}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
