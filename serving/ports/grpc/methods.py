"""What every call to the gRPC port goes through: token, limit, parsing, errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

import grpc
from google.protobuf import message_factory  # type: ignore[import-untyped]
from google.protobuf.descriptor import (  # type: ignore[import-untyped]
    MethodDescriptor,
    ServiceDescriptor,
)
from google.protobuf.message import Message  # type: ignore[import-untyped]

from ...authentication import REFUSAL, Token
from .api import failed

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Parse = Callable[[bytes], Message]
Place = AbstractContextManager[None]
_NO_LIMIT = nullcontext()

_HEALTH = "/grpc.health.v1.Health/"
_STATUS_CODES = {status.value[0]: status for status in grpc.StatusCode}


class Methods(grpc.GenericRpcHandler):  # type: ignore[misc]
    """The methods of a server by their full name.

    They get messages and return messages, or raise; this parses, serialises, and turns what is
    raised into a status. Methods in the servicer's `IN_BYTES` parse and serialise by themselves.
    grpc would log a traceback and answer UNKNOWN, also for a message that can't be parsed.

    Args:
        token: what calls have to bring, except those of the health service.
    """

    def __init__(self, token: Token | None) -> None:
        self._token = token
        self._handlers: dict[str, grpc.RpcMethodHandler] = {}

    def add(
        self,
        service: ServiceDescriptor,
        servicer: object,
        place: Place = _NO_LIMIT,
    ) -> None:
        """Answer the methods of a service.

        Args:
            service: its descriptor.
            servicer: has a coroutine or an asynchronous generator for each method, of its name.
            place: entered for each call that is not a stream; raises what refuses it.
        """
        for method in service.methods:
            behaviour = getattr(servicer, method.name)
            if method.name in getattr(servicer, "IN_BYTES", ()):
                handler = grpc.unary_unary_rpc_method_handler(_in_bytes(behaviour, place))
            else:
                handler = _handler(method, behaviour, place)
            self._handlers[f"/{service.full_name}/{method.name}"] = handler

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler | None:
        """Return what answers a call."""
        method = handler_call_details.method
        if (
            self._token is None
            or method.startswith(_HEALTH)
            or self._token.is_in(dict(handler_call_details.invocation_metadata))
        ):
            return self._handlers.get(method)
        return _REFUSE


def _handler(
    method: MethodDescriptor, behaviour: Callable[..., Any], place: Place
) -> grpc.RpcMethodHandler:
    parse = message_factory.GetMessageClass(method.input_type).FromString
    if method.client_streaming:

        def parse_each(requests: AsyncIterator[bytes]) -> AsyncIterator[Message]:
            return (parse(data) async for data in requests)

        return grpc.stream_stream_rpc_method_handler(_to_many(parse_each, behaviour))
    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(_to_many(parse, behaviour))
    return grpc.unary_unary_rpc_method_handler(_one_to_one(parse, behaviour, place))


def _one_to_one(
    parse: Parse, behaviour: Callable[[Message, Context], Awaitable[Message]], place: Place
) -> Callable[[bytes, Context], Awaitable[bytes]]:
    async def in_bytes(data: bytes, context: Context) -> bytes:
        response = await behaviour(parse(data), context)
        serialised: bytes = response.SerializeToString()
        return serialised

    return _in_bytes(in_bytes, place)


def _in_bytes(
    behaviour: Callable[[bytes, Context], Awaitable[bytes]], place: Place
) -> Callable[[bytes, Context], Awaitable[bytes]]:
    async def answer(data: bytes, context: Context) -> bytes:
        try:
            with place:
                return await behaviour(data, context)
        except Exception as error:
            await _abort(context, error)
            raise  # abort() has raised already; this tells the type checker.

    return answer


def _to_many(
    read: Callable[[Any], Any], behaviour: Callable[[Any, Context], AsyncIterator[Message]]
) -> Callable[[Any, Context], AsyncIterator[bytes]]:
    async def answer(given: Any, context: Context) -> AsyncIterator[bytes]:
        try:
            async for response in behaviour(read(given), context):
                yield response.SerializeToString()
        except Exception as error:
            await _abort(context, error)

    return answer


async def _abort(context: Context, error: Exception) -> None:
    code, message = failed(error)
    await context.abort(_STATUS_CODES[code], message)


async def _refuse(_requests: AsyncIterator[bytes], context: Context) -> None:
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, REFUSAL)


_REFUSE = grpc.stream_unary_rpc_method_handler(_refuse)
"""As for a stream of requests: a single one would be read first, however large it is."""
