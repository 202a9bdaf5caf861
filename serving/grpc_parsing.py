"""Messages that are none: answered with an error, not left to grpc.

When a message can't be parsed, grpc's server for Python (1.85) logs a traceback and never lets go
of the call: 19 KB for each such message, with which anybody who reaches the port could fill the
memory.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]


class ParsingInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]
    """Answers INTERNAL, as TensorFlow Serving does, to a message that can't be parsed."""

    def __init__(self) -> None:
        self._handlers: dict[str, grpc.RpcMethodHandler] = {}

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        """Return the handler of a method, made safe; made once for each method that there is."""
        method = handler_call_details.method
        if method not in self._handlers:
            handler = continuation(handler_call_details)
            if handler is None:
                return None
            self._handlers[method] = _safe(handler)
        return self._handlers[method]


def _safe(handler: grpc.RpcMethodHandler) -> grpc.RpcMethodHandler:
    kind = f"{_stream(handler.request_streaming)}_{_stream(handler.response_streaming)}"
    behaviour, parse = getattr(handler, kind), handler.request_deserializer

    def parse_safely(data: bytes) -> Any:
        try:
            return parse(data)
        except DecodeError as error:
            return error

    # Keeps the attribute by which the health service asks for a call-back as a third argument.
    @functools.wraps(behaviour)
    def answer(request: Any, context: grpc.ServicerContext, *rest: Any) -> Any:
        checked = _checked_stream if handler.request_streaming else _checked
        return behaviour(checked(request, context), context, *rest)

    make = getattr(grpc, f"{kind}_rpc_method_handler")
    return make(
        answer,
        request_deserializer=parse_safely,
        response_serializer=handler.response_serializer,
    )


def _stream(streaming: bool) -> str:
    return "stream" if streaming else "unary"


def _checked(request: Any, context: grpc.ServicerContext) -> Any:
    if isinstance(request, DecodeError):
        context.abort(grpc.StatusCode.INTERNAL, str(request))
    return request


def _checked_stream(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
    for request in requests:
        yield _checked(request, context)
