"""Bodies of REST requests that differ in the numbers of their rows only come as numbers.

Reading decimal numbers is most of what a row of them costs, and Python's part of it holds the GIL.
So Python tells the front end what such a body looks like that it has read: what is before and after
the rows, their shape, the model's type. From then on the front end reads the numbers of bodies that
look so, and sends them as the model wants them. Whatever is odd comes as it is, so that all errors
are Python's. A form is good for one signature of one version: when that has gone, Python asks for
the bodies themselves (`Kind.AGAIN`), reads them, and tells the new form.
"""

from __future__ import annotations

import json
import re
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ...budget import LARGE_BYTES
from ...models.signature import Signature
from ...models.version import Version
from ...predict.call import Call
from ..rest.api import Prediction
from .frames import Kind
from .link import Link

_SIGNATURE = rb'"signature_name"\s*:\s*"[ !#-[\]-~]*"\s*'
_PREFIX = re.compile(rb"\s*\{\s*(?:" + _SIGNATURE + rb',\s*)?"(?:instances|inputs)"\s*:\s*\[')
_SUFFIX = re.compile(rb"\]\s*(?:,\s*" + _SIGNATURE + rb")?\}\s*")
"""With these around them, the rows are all of the input's list."""

_OF_ROWS = b"0123456789+-.eE[], \t\n\r"
_DTYPES = frozenset({"float32", "float64", "int32", "int64", "uint8"})
_LEAST_NUMBERS = 8
"""In a body; with fewer there is little to gain."""

_MOST = 256
"""Forms that are known: the latest. The front end has as many."""

_IDS = 2**16


@dataclass(frozen=True, slots=True)
class Form:
    """How some bodies look."""

    prediction: Prediction
    """What their path says."""
    signature: weakref.ref[Signature]
    call: Callable[..., Call[bytes]]
    """Makes a call of `signature`, `inputs` and `count`."""
    alias: str
    dtype: np.dtype
    shape: tuple[int, ...]
    """Of a row."""

    def alike(self, contents: Sequence[bytes]) -> list[list[int]]:
        """Return positions of bodies in groups, each of which can be read together."""
        signature = self.signature()
        if signature is None or signature.queue is None:
            return [[position] for position in range(len(contents))]
        found: dict[int, list[int]] = {}
        for position, content in enumerate(contents):
            found.setdefault(len(content), []).append(position)
        return list(found.values())

    def read(self, version: Version, contents: Sequence[bytes]) -> Call[bytes] | None:
        """Return the call that bodies of as many rows are; None: the signature is another one.

        Args:
            version: answers them.
            contents: their numbers.
        """
        signature = self.signature()
        if signature is None or version.signature(signature.key) is not signature:
            return None
        content = contents[0] if len(contents) == 1 else b"".join(contents)
        array = np.frombuffer(content, self.dtype).reshape(-1, *self.shape)
        return self.call(signature=signature, inputs={self.alias: array}, count=len(contents))


class Forms:
    """What the front end was told. For any thread.

    Args:
        link: to the front end.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lock = threading.Lock()
        self._known: dict[int, Form] = {}
        """By id, the oldest first."""
        self._by_text: dict[tuple[bytes, bytes, bytes], Form] = {}
        """By head, prefix and suffix, the oldest first."""
        self._last = 0

    def find(self, id: int) -> Form | None:
        """Return a form by its id."""
        return self._known.get(id)

    def learn(self, head: bytes, prediction: Prediction, content: bytes, call: Call[bytes]) -> None:
        """Tell the front end what a body looks like, if others can look like it.

        Args:
            head: of the request, as the front end gives it.
            prediction: what its path says.
            content: the body.
            call: that was read from it, and perhaps from others that came with it.
        """
        if len(call.inputs) != 1 or len(content) > LARGE_BYTES or b"\n" in head:
            return
        [(alias, array)] = call.inputs.items()
        if array.dtype.name not in _DTYPES or array.size < _LEAST_NUMBERS or not array.ndim:
            return
        start, end = content.find(b"[") + 1, content.rfind(b"]")
        prefix, suffix = content[:start], content[end:]
        known = self._by_text.get((head, prefix, suffix))
        if known is not None and known.signature() is call.signature:
            return
        if (
            not _PREFIX.fullmatch(prefix)
            or not _SUFFIX.fullmatch(suffix)
            or content[start:end].translate(None, _OF_ROWS)
        ):
            return
        form = Form(
            prediction,
            weakref.ref(call.signature),
            partial(Call, api=call.api, fetch=call.fetch, answers=call.answers, form=call.form),
            alias,
            array.dtype,
            array.shape[1:],
        )
        told = {
            "prefix": prefix.decode(),
            "suffix": suffix.decode(),
            "shape": form.shape,
            "dtype": form.dtype.name,
        }
        with self._lock:
            self._last = (self._last + 1) % _IDS
            # Before the front end can send any.
            self._known[self._last] = form
            self._by_text.pop((head, prefix, suffix), None)
            self._by_text[head, prefix, suffix] = form
            if len(self._known) > _MOST:
                del self._known[next(iter(self._known))]
            if len(self._by_text) > _MOST:
                del self._by_text[next(iter(self._by_text))]
            body = json.dumps(told).encode()
            self._link.tell(Kind.FORM, status=self._last, head=head, body=body)
