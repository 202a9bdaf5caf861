"""The blocking transport over gRPC: TF Serving's PredictionService and ModelService."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import grpc

from ..results import ModelStatus
from ..specs import ModelMetadata, Signature
from .base import Deadline, Endpoint
from .grpc_codec import METADATA, PREDICT, STATUS, GrpcCodec, Method, options
from .tls import Security

if TYPE_CHECKING:
    from ..specs import Array


class GrpcTransport:
    """Calls one model on one server over one channel. Safe to use from many threads."""

    def __init__(self, endpoint: Endpoint, security: Security) -> None:
        self._codec = GrpcCodec(endpoint, security)
        self._channel = (
            grpc.insecure_channel(self._codec.address, options=options(self._codec.proxy))
            if security.tls is None
            else grpc.secure_channel(
                self._codec.address,
                security.tls.grpc_credentials(),
                options=options(self._codec.proxy),
            )
        )
        self._headers = tuple(security.headers().items())
        self._methods = {
            method: self._channel.unary_unary(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
            for method in (PREDICT, METADATA, STATUS)
        }

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
        self._channel.close()

    def _call(self, method: Method, request: Any, deadline: Deadline) -> Any:
        try:
            return self._methods[method](request, timeout=deadline.left(), metadata=self._headers)
        except TimeoutError as exc:
            raise self._codec.too_late(deadline) from exc
        except grpc.RpcError as exc:
            raise self._codec.error(exc, deadline) from exc
