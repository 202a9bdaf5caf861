"""The asyncio transports: gRPC over one channel, and REST in threads.

The standard library has no HTTP for asyncio: each request waits in a thread of the event loop's
own pool (a few for each core), over the connections that the blocking transport keeps.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from ..results import ModelStatus
from ..specs import ModelMetadata, Signature
from .base import Deadline, Endpoint
from .grpc_codec import METADATA, PREDICT, STATUS, GrpcCodec, Method, is_answer, options
from .rest import RestTransport
from .tls import Security

if TYPE_CHECKING:
    from ..specs import Array


class AsyncGrpcTransport:
    """Calls one model on one server over one channel, all from one event loop."""

    def __init__(self, endpoint: Endpoint, security: Security) -> None:
        self._codec = GrpcCodec(endpoint, security)
        self._credentials = security.tls.grpc_credentials() if security.tls else None
        self._headers = tuple(security.headers().items())
        self._channel: Any = None
        self._methods: dict[Method, Any] = {}
        self._heard = 0.0
        """When a server last answered over the channel, by `time.monotonic`."""

    async def predict(
        self, signature: Signature, inputs: Mapping[str, Array], deadline: Deadline
    ) -> tuple[dict[str, Array], int | None]:
        """Return the outputs by name and the version that answered."""
        request = self._codec.predict_request(signature, inputs)
        return self._codec.prediction(await self._call(PREDICT, request, deadline))

    async def metadata(self, deadline: Deadline) -> ModelMetadata:
        """Return the signatures of the model."""
        request = self._codec.metadata_request()
        return self._codec.metadata(await self._call(METADATA, request, deadline))

    async def status(self, deadline: Deadline) -> ModelStatus:
        """Return the state of the model's versions."""
        request = self._codec.status_request()
        return self._codec.status(await self._call(STATUS, request, deadline))

    async def close(self) -> None:
        """Close the channel; calls that are under way end with an error."""
        if self._channel is not None:
            await self._channel.close()

    async def _call(self, method: Method, request: Any, deadline: Deadline) -> Any:
        if self._channel is None:
            # Not before: a channel belongs to the event loop that runs when it is made.
            address, credentials = self._codec.address, self._credentials
            self._channel = (
                grpc.aio.insecure_channel(address, options=options(self._codec.proxy))
                if credentials is None
                else grpc.aio.secure_channel(
                    address, credentials, options=options(self._codec.proxy)
                )
            )
        channel, began = self._channel, time.monotonic()
        if method not in self._methods:
            self._methods[method] = channel.unary_unary(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
        try:
            answer = await self._methods[method](
                request, timeout=deadline.left(), metadata=self._headers
            )
        except TimeoutError as exc:
            raise self._codec.too_late(deadline) from exc
        except grpc.RpcError as exc:
            late = exc.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            if self._channel is channel and is_answer(exc):
                self._heard = time.monotonic()
            elif late and self._channel is channel and self._heard < began:
                # As in the blocking transport. Calls that are under way keep the old channel.
                self._channel, self._methods = None, {}
            # It asks the port, which blocks.
            raise await asyncio.to_thread(self._codec.error, exc, deadline) from exc
        if self._channel is channel:
            self._heard = time.monotonic()
        return answer


class AsyncRestTransport:
    """Calls one model on one server over a connection for each call that is under way."""

    def __init__(self, endpoint: Endpoint, security: Security) -> None:
        self._blocking = RestTransport(endpoint, security)

    async def predict(
        self, signature: Signature, inputs: Mapping[str, Array], deadline: Deadline
    ) -> tuple[dict[str, Array], int | None]:
        """Return the outputs by name and the version that was asked for."""
        return await asyncio.to_thread(self._blocking.predict, signature, inputs, deadline)

    async def metadata(self, deadline: Deadline) -> ModelMetadata:
        """Return the signatures of the model."""
        return await asyncio.to_thread(self._blocking.metadata, deadline)

    async def status(self, deadline: Deadline) -> ModelStatus:
        """Return the state of the model's versions."""
        return await asyncio.to_thread(self._blocking.status, deadline)

    async def close(self) -> None:
        """Close the idle connections."""
        self._blocking.close()


AsyncTransport = AsyncGrpcTransport | AsyncRestTransport
