"""POSTs that predict, classify or regress, on their way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...predict.call import Call
from ...predict.memory import input_bytes
from ..grpc.api import Target
from ..rest.api import Prediction, Response, failed
from .carrier import Caller, Carrier
from .exchanges import Exchange, ReadEach
from .forms import Form, Forms
from .frames import Kind
from .link import Link

_JSON = b"content-type: application/json"


class RestExchange(Exchange):
    """Requests to one path.

    Args:
        carrier: of their port.
        callers: who wait.
        prediction: what the path says.
        gzip: whether the bodies are packed.
        forms: learns from them how others may look.
        head: of the requests.
    """

    entrypoint = "REST"

    def __init__(
        self,
        carrier: Carrier,
        callers: list[Caller],
        prediction: Prediction,
        *,
        gzip: bool,
        forms: Forms,
        head: bytes,
    ) -> None:
        super().__init__(carrier, callers, prediction.api)
        self._prediction = prediction
        self._gzip = gzip
        self._forms = forms
        self._head = head

    def _is_long(self, size: int) -> bool:
        return self._prediction.is_long(size, gzip=self._gzip)

    def _open(self, contents: Sequence[bytes]) -> tuple[Any, Target]:
        prediction = self._prediction
        self._count(prediction.name)
        if len(contents) == 1:
            request = prediction.parse(contents[0], self._hold, gzip=self._gzip)
        else:
            assert prediction.method.parse_alike is not None
            request = prediction.method.parse_alike(contents)
            if request is None:
                raise ReadEach
        return (request, contents[0]), prediction.target

    def _read_call(self, request: Any) -> Call[bytes]:
        request, content = request
        call = self._prediction.method.read(self._version, request)
        self._hold.add(input_bytes(call.inputs, shrinks_jpeg=call.signature.shrinks_jpeg))
        if self._prediction.method.has_forms and not self._gzip:
            self._forms.learn(self._head, self._prediction, content, call)
        return call

    def _send(self, ids: Sequence[int], answers: Sequence[bytes]) -> None:
        self._carrier.link.answer(Kind.HTTP_ANSWER, 200, _JSON, ids, answers)

    def _send_error(self, ids: Sequence[int], error: BaseException) -> None:
        answer(self._carrier.link, ids, failed(error))


class RowsExchange(RestExchange):
    """Requests of a form, whose numbers the front end has read.

    Args:
        carrier: of their port.
        callers: who wait.
        form: theirs.
        forms: where that was learnt.
    """

    def __init__(self, carrier: Carrier, callers: list[Caller], form: Form, forms: Forms) -> None:
        super().__init__(carrier, callers, form.prediction, gzip=False, forms=forms, head=b"")
        self._form = form

    def _is_long(self, size: int) -> bool:
        return False

    def _open(self, contents: Sequence[bytes]) -> tuple[Any, Target]:
        self._count(self._prediction.name)
        return contents, self._prediction.target

    def _read_call(self, request: Any) -> Call[bytes]:
        call = self._form.read(self._version, request)
        if call is None:
            raise _FormHasGone
        self._hold.add(input_bytes(call.inputs, shrinks_jpeg=call.signature.shrinks_jpeg))
        return call

    def _not_read(self, contents: Sequence[bytes], error: Exception) -> None:
        if not isinstance(error, _FormHasGone):
            super()._not_read(contents, error)
            return
        ask_again(self._carrier.link, [caller.id for caller in self._callers])
        self._end()


class _FormHasGone(Exception):
    """The signature that a form is good for serves no longer."""


def ask_again(link: Link, ids: Sequence[int]) -> None:
    """Have requests of a form come as they are."""
    link.answer(Kind.AGAIN, 0, b"", ids, [b""] * len(ids))


def answer(link: Link, ids: Sequence[int], response: Response) -> None:
    """Send an HTTP response."""
    head = b"content-type: " + response.content_type
    link.answer(Kind.HTTP_ANSWER, response.status, head, ids, [response.body] * len(ids))
