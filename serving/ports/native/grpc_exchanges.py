"""Calls to PredictionService on their way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...predict.call import Call
from ..grpc import api
from .carrier import Caller, Carrier
from .exchanges import Exchange, ReadEach
from .frames import Kind
from .link import Link


class GrpcExchange(Exchange):
    """Calls to one method."""

    entrypoint = "GRPC"

    def __init__(self, carrier: Carrier, callers: list[Caller], method: api.Method) -> None:
        super().__init__(carrier, callers, method.name)
        self._method = method

    def _is_long(self, size: int) -> bool:
        return size > self._method.short_bytes

    def _open(self, contents: Sequence[bytes]) -> tuple[Any, api.Target]:
        method = self._method
        if len(contents) == 1:
            request = method.parse(contents[0])
        else:
            assert method.parse_alike is not None
            request = method.parse_alike(contents)
            if request is None:
                raise ReadEach
        spec = method.spec(request)
        self._count(spec.name if spec is not None else "")
        return request, api.target(spec)

    def _read_call(self, request: Any) -> Call[bytes]:
        return self._method.read(self._version, request, self._hold)

    def _send(self, ids: Sequence[int], answers: Sequence[bytes]) -> None:
        self._carrier.link.answer(Kind.GRPC_ANSWER, 0, b"", ids, answers)

    def _send_error(self, ids: Sequence[int], error: BaseException) -> None:
        answer_error(self._carrier.link, ids, error)


def answer_error(link: Link, ids: Sequence[int], error: BaseException) -> None:
    """Send the status that an error becomes."""
    code, text = api.failed(error)
    answer = text.encode(errors="replace")
    link.answer(Kind.GRPC_ANSWER, code, b"", ids, [answer] * len(ids))
