"""Requests that differ from an earlier one in their numbers only need not be parsed again.

Clients send the same message again and again, with other values at its end: for one tensor of
numbers, protobuf's encoding puts the values last. A message whose bytes before the values and whose
length are those of an earlier message has the same fields; its values are read where they are.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tensorflow_serving.apis import predict_pb2

from ..budget import LARGE_BYTES
from ..models.signature import Signature
from ..wire import tensor_proto

_LEAST_BYTES = 64
"""Of values; with fewer there is little to gain.

Nor with more than LARGE_BYTES: such a message is read without protobuf, and to find its form would
hold up all Python while protobuf reads it twice.
"""

_MOST_PREFIX_BYTES = 1024
_MOST_TEMPLATES = 256
_MOST_PLACES = 4
"""At which values begin, in messages of one length."""

_MOST_TRIES = 32
"""To find a form for messages of one length: those of some clients have none, or a new one each."""


@dataclass(eq=False, slots=True)
class Template:
    """What all messages of one form say."""

    message: predict_pb2.PredictRequest
    """The first of them."""
    alias: str
    dtype: np.dtype
    shape: tuple[int, ...]
    prefix: bytes
    """What precedes the values."""
    size: int
    """Bytes of a message."""
    signature: weakref.ref[Signature]
    """Which the message fits."""
    fetch: list[str]

    def fits(self, data: bytes) -> bool:
        """Whether a message is of this form."""
        return len(data) == self.size and data.startswith(self.prefix)

    def runs_together(self) -> bool:
        """Whether requests of this form run as one with others."""
        signature = self.signature()
        return signature is not None and signature.queue is not None

    def array(self, messages: Sequence[bytes]) -> np.ndarray:
        """Return the tensors in messages of this form, one below the other.

        That of one message is a view of it.
        """
        if len(messages) == 1:
            values = np.frombuffer(messages[0], self.dtype, offset=len(self.prefix))
            return values.reshape(self.shape)
        start = len(self.prefix)
        values = np.frombuffer(b"".join([message[start:] for message in messages]), self.dtype)
        return values.reshape(len(messages) * self.shape[0], *self.shape[1:])


class Templates:
    """Finds the form of messages. For any thread."""

    def __init__(self) -> None:
        self._places: dict[int, tuple[int, ...]] = {}
        """Length of a message to where its values may begin."""
        self._found: dict[tuple[int, bytes], Template] = {}
        """Length of a message and its bytes before the values, to its form."""
        self._tries: dict[int, int] = {}
        """By length of a message."""

    def find(self, data: bytes) -> Template | None:
        """Return the form of a message that looks like an earlier one."""
        size = len(data)
        for start in self._places.get(size, ()):
            template = self._found.get((size, data[:start]))
            if template is not None:
                return template
        return None

    def learn(
        self,
        data: bytes,
        message: predict_pb2.PredictRequest,
        signature: Signature,
        inputs: dict[str, np.ndarray],
        fetch: list[str],
    ) -> None:
        """Remember the form of a message, if it has one.

        Args:
            data: the message.
            message: the same, parsed.
            signature: that it was read for, and fits.
            inputs: all that was read.
            fetch: the outputs that it asks for.
        """
        if len(message.inputs) != 1 or len(inputs) != 1:
            return
        [(alias, array)] = inputs.items()
        start = len(data) - array.nbytes
        if (
            array.dtype == object
            or not _LEAST_BYTES <= array.nbytes <= LARGE_BYTES
            or not 0 < start <= _MOST_PREFIX_BYTES
        ):
            return
        prefix = data[:start]
        if (len(data), prefix) not in self._found:
            tries = self._tries[len(data)] = self._tries.get(len(data), 0) + 1
            if tries > _MOST_TRIES or not _is_last(prefix, array):
                return
        if max(len(self._found), len(self._tries)) >= _MOST_TEMPLATES:
            self._places, self._found, self._tries = {}, {}, {}
        places = self._places.get(len(data), ())
        if start not in places:
            self._places[len(data)] = (start, *places)[:_MOST_PLACES]
        # Without the values: a form must not keep a large message.
        small = predict_pb2.PredictRequest()
        small.CopyFrom(message)
        small.inputs.clear()
        self._found[len(data), prefix] = Template(
            small, alias, array.dtype, array.shape, prefix, len(data), weakref.ref(signature), fetch
        )


def _is_last(prefix: bytes, array: np.ndarray) -> bool:
    """Say whether the bytes after a prefix are the values of the only tensor and nothing else.

    Protobuf tells: two messages with all other bytes after the prefix differ in the values alone.
    """
    # What can't be a varint, a tag or a length where one is due would not be parsed, or not alike.
    tries = [np.random.default_rng().integers(0, 256, array.nbytes, np.uint8) for _ in range(2)]
    rest = set()
    for values in tries:
        try:
            message = predict_pb2.PredictRequest.FromString(prefix + values.tobytes())
            [proto] = message.inputs.values()
            read = tensor_proto.from_proto(proto)
        except (ValueError, DecodeError):
            return False
        if read.dtype != array.dtype or read.tobytes() != values.tobytes():
            return False
        message.inputs.clear()
        rest.add(message.SerializeToString(deterministic=True))
    return len(rest) == 1
