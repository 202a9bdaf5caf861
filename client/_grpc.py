"""The gRPC transport: TF Serving's PredictionService and ModelService over one channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import grpc

from . import _messages as messages
from ._deadline import Deadline
from ._exceptions import ConnectionFailed, DeadlineExceeded, PredictionError, ServerError
from ._probe import HTTP1, HTTP2, NOTHING, what_listens
from ._tensors import decode, encode
from ._types import (
    DTYPES,
    ModelMetadata,
    ModelStatus,
    Signature,
    TensorSpec,
    VersionStatus,
    format_address,
)

if TYPE_CHECKING:
    from ._types import Array

_OPTIONS = [
    # TF Serving sends up to 2 GiB; gRPC's own limit for answers is 4 MiB, which is a few pictures.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # gRPC would send even calls to 127.0.0.1 through $http_proxy, which proxies rarely allow.
    ("grpc.enable_http_proxy", 0),
]


class GrpcTransport:
    """Calls one model on one server. Safe to use from many threads."""

    def __init__(self, host: str, port: int, model: str, version: int | None) -> None:
        self._host = host
        self._port = port
        self._model = model
        self._version = version
        self._address = format_address(host, port)
        self._channel = grpc.insecure_channel(self._address, options=_OPTIONS)
        self._predict = self._method(
            "PredictionService/Predict", messages.PredictRequest, messages.PredictResponse
        )
        self._metadata = self._method(
            "PredictionService/GetModelMetadata",
            messages.GetModelMetadataRequest,
            messages.GetModelMetadataResponse,
        )
        self._status = self._method(
            "ModelService/GetModelStatus",
            messages.GetModelStatusRequest,
            messages.GetModelStatusResponse,
        )

    def predict(
        self, signature: Signature, inputs: Mapping[str, Array], deadline: Deadline
    ) -> tuple[dict[str, Array], int | None]:
        """Return the outputs by name and the version that answered."""
        request = self._addressed(messages.PredictRequest())
        request.model_spec.signature_name = signature.name
        for name, array in inputs.items():
            encode(array, request.inputs[name])
        response = self._call(self._predict, request, deadline)
        outputs = {name: decode(name, proto) for name, proto in sorted(response.outputs.items())}
        return outputs, response.model_spec.version.value

    def metadata(self, deadline: Deadline) -> ModelMetadata:
        """Return the signatures of the model."""
        request = self._addressed(messages.GetModelMetadataRequest())
        request.metadata_field.append("signature_def")
        response = self._call(self._metadata, request, deadline)
        packed = response.metadata["signature_def"]
        definitions = messages.SignatureDefMap.FromString(packed.value).signature_def
        return ModelMetadata(
            model=self._model,
            version=response.model_spec.version.value,
            signatures={
                name: Signature(name, _specs(definition.inputs), _specs(definition.outputs))
                for name, definition in sorted(definitions.items())
            },
        )

    def status(self, deadline: Deadline) -> ModelStatus:
        """Return the state of the model's versions."""
        request = self._addressed(messages.GetModelStatusRequest())
        response = self._call(self._status, request, deadline)
        return ModelStatus(
            self._model,
            tuple(
                VersionStatus(
                    version=entry.version,
                    state=messages.STATE_NAMES.get(entry.state, str(entry.state)),
                    error_code=messages.ERROR_CODE_NAMES.get(
                        entry.status.error_code, str(entry.status.error_code)
                    ),
                    error_message=entry.status.error_message,
                )
                for entry in response.model_version_status
            ),
        )

    def close(self) -> None:
        """Close the channel; calls that are under way end with an error."""
        self._channel.close()

    def _method(self, name: str, request: Any, response: Any) -> Any:
        return self._channel.unary_unary(
            f"/tensorflow.serving.{name}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )

    def _addressed(self, request: Any) -> Any:
        request.model_spec.name = self._model
        if self._version is not None:
            request.model_spec.version.value = self._version
        return request

    def _call(self, method: Any, request: Any, deadline: Deadline) -> Any:
        try:
            return method(request, timeout=deadline.left())
        except TimeoutError as exc:
            raise self._too_late(deadline) from exc
        except grpc.RpcError as exc:
            raise self._error(exc, deadline) from exc

    def _error(self, error: Any, deadline: Deadline) -> PredictionError:
        code, details = error.code().name, error.details() or ""
        if code not in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
            return ServerError(self._address, code, details)
        # gRPC says UNAVAILABLE for whatever it met on the way, and waits out the deadline where
        # nothing answers its greeting. Its texts change from release to release: ask the port.
        listens = what_listens(self._host, self._port, min(1.0, deadline.seconds))
        if listens == NOTHING:
            return ConnectionFailed(
                f"No connection to {self._address} ({_reason(details)}). "
                "Check host and port, and that the server runs."
            )
        if listens == HTTP1:
            return ConnectionFailed(
                f"{self._address} speaks HTTP/1, not gRPC. Use the transport `rest`, "
                "or give the server's gRPC port (TF Serving's own is 8500)."
            )
        if code == "DEADLINE_EXCEEDED":
            return self._too_late(deadline)
        if listens == HTTP2:
            return ServerError(self._address, code, details)
        return ConnectionFailed(
            f"{self._address} is open but speaks no plain gRPC ({_reason(details)}). "
            "Check the port, and whether it asks for TLS."
        )

    def _too_late(self, deadline: Deadline) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"No answer from {self._address} within {deadline.seconds:g} s. "
            "Allow a longer timeout, or send less at once."
        )


def _specs(tensors: Mapping[str, Any]) -> dict[str, TensorSpec]:
    return {name: _spec(name, info) for name, info in sorted(tensors.items())}


def _spec(name: str, info: Any) -> TensorSpec:
    tf_name = messages.DATA_TYPE_NAMES.get(info.dtype, str(info.dtype))
    shape = tuple(None if dim.size < 0 else int(dim.size) for dim in info.tensor_shape.dim)
    return TensorSpec(
        name, DTYPES.get(tf_name, tf_name), None if info.tensor_shape.unknown_rank else shape
    )


def _reason(details: str) -> str:
    """Return the last, most telling part of gRPC's chained texts."""
    return details.rpartition(": ")[2].rstrip("])") or "no reason given"
