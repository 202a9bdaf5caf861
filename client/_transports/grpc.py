"""The blocking transport over gRPC: TF Serving's PredictionService and ModelService."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from ..results import ModelStatus
from ..specs import ModelMetadata, Signature
from .base import Deadline, Endpoint
from .grpc_codec import METADATA, PREDICT, STATUS, GrpcCodec, Method, is_answer, options
from .tls import Security

if TYPE_CHECKING:
    from ..specs import Array


@dataclass(eq=False, slots=True)
class _Line:
    """A channel, which is closed when nobody holds it any more, and the methods called over it."""

    channel: grpc.Channel
    methods: dict[Method, Any]
    heard: float = 0
    """When a server last answered over it, by `time.monotonic`."""


class GrpcTransport:
    """Calls one model on one server over one channel. Safe to use from many threads.

    After a call without an answer in time, while which nothing came over the channel, the next ones
    have a new one. Of a server that is only slow something comes: a new connection for each of its
    clients would make it slower.
    """

    def __init__(self, endpoint: Endpoint, security: Security) -> None:
        self._codec = GrpcCodec(endpoint, security)
        self._credentials = security.tls.grpc_credentials() if security.tls else None
        self._headers = tuple(security.headers().items())
        self._line = self._opened()

    def _opened(self) -> _Line:
        address, given = self._codec.address, options(self._codec.proxy)
        channel = (
            grpc.insecure_channel(address, options=given)
            if self._credentials is None
            else grpc.secure_channel(address, self._credentials, options=given)
        )
        methods = {
            method: channel.unary_unary(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
            for method in (PREDICT, METADATA, STATUS)
        }
        return _Line(channel, methods)

    def predict(
        self, signature: Signature, inputs: Mapping[str, Array], deadline: Deadline
    ) -> tuple[dict[str, Array], int | None]:
        """Return the outputs by name and the version that answered."""
        request = self._codec.predict_request(signature, inputs)
        return self._codec.prediction(self._call(PREDICT, request, deadline))

    def metadata(self, deadline: Deadline) -> ModelMetadata:
        """Return the signatures of the model."""
        request = self._codec.metadata_request()
        return self._codec.metadata(self._call(METADATA, request, deadline))

    def status(self, deadline: Deadline) -> ModelStatus:
        """Return the state of the model's versions."""
        request = self._codec.status_request()
        return self._codec.status(self._call(STATUS, request, deadline))

    def close(self) -> None:
        """Close the channel; calls that are under way end with an error."""
        self._line.channel.close()

    def _call(self, method: Method, request: Any, deadline: Deadline) -> Any:
        line, began = self._line, time.monotonic()
        try:
            answer = line.methods[method](request, timeout=deadline.left(), metadata=self._headers)
        except TimeoutError as exc:
            raise self._codec.too_late(deadline) from exc
        except grpc.RpcError as exc:
            late = exc.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            if is_answer(exc):
                line.heard = time.monotonic()
            elif late and line.heard < began and self._line is line:
                # Of a server whose node was lost, nothing comes any more, and the kernel goes on to
                # send for 15 minutes. Other calls that are under way keep the old channel.
                self._line = self._opened()
            raise self._codec.error(exc, deadline) from exc
        line.heard = time.monotonic()
        return answer
