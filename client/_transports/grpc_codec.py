"""Requests, answers and errors over gRPC: all of the transport but the channel.

The blocking and the asyncio transport share it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ConnectionFailed, DeadlineExceeded, PredictionError, ServerError
from ..results import ModelStatus, VersionStatus
from ..specs import DTYPES, ModelMetadata, Signature, TensorSpec
from . import messages
from .base import COMPOSITES, CONNECT_SECONDS, Deadline, Endpoint
from .probe import DROPS, HTTP1, HTTP2, NOTHING, SILENT, TLS, listens_inside, what_listens
from .proxies import Proxy, proxy_for
from .tensors import decode, encode
from .tls import Security

if TYPE_CHECKING:
    from ..specs import Array

_OPTIONS: list[tuple[str, int | str]] = [
    # TF Serving sends up to 2 GiB; gRPC's own limit for answers is 4 MiB, which is a few pictures.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # gRPC waits 1 s and more before it connects anew, and until then every call fails at once:
    # retries would be over before that.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # How long one attempt to connect may take, 20 s by default. Behind one address are many
    # servers; after a node was lost, some lead nowhere until the others have noticed.
    ("grpc.min_reconnect_backoff_ms", CONNECT_SECONDS * 1000),
    # A channel that takes the place of another has a connection of its own.
    ("grpc.use_local_subchannel_pool", 1),
]


def options(proxy: Proxy | None) -> list[tuple[str, int | str]]:
    """Return the options of a channel, by way of a proxy or not.

    gRPC's core reads the environment by rules of its own: it would send even calls to 127.0.0.1
    through $http_proxy, and knows neither upper case nor ranges of addresses.
    """
    if proxy is None:
        return [*_OPTIONS, ("grpc.enable_http_proxy", 0)]
    return [*_OPTIONS, ("grpc.enable_http_proxy", 1), ("grpc.http_proxy", proxy.url())]


def is_answer(error: Any) -> bool:
    """Whether a server has sent the status of an error, and gRPC did not make it up itself."""
    code = error.code().name
    if code == "DEADLINE_EXCEEDED":
        # gRPC's own words; no server has these.
        return bool(error.details() != "Deadline Exceeded")
    return bool(code not in ("UNAVAILABLE", "CANCELLED"))


class Method(NamedTuple):
    """One method of a service: its path, and the messages' classes."""

    path: str
    request: Any
    response: Any


PREDICT = Method(
    "/tensorflow.serving.PredictionService/Predict",
    messages.PredictRequest,
    messages.PredictResponse,
)
METADATA = Method(
    "/tensorflow.serving.PredictionService/GetModelMetadata",
    messages.GetModelMetadataRequest,
    messages.GetModelMetadataResponse,
)
STATUS = Method(
    "/tensorflow.serving.ModelService/GetModelStatus",
    messages.GetModelStatusRequest,
    messages.GetModelStatusResponse,
)


class GrpcCodec:
    """Messages for one model on one server."""

    def __init__(self, endpoint: Endpoint, security: Security) -> None:
        self.address = endpoint.address
        self._endpoint = endpoint
        self._tls = security.tls
        tls = security.tls is not None
        self.proxy = proxy_for(os.environ, "grpc", endpoint.host, endpoint.port, tls=tls)
        self._answered = False

    def predict_request(self, signature: Signature, inputs: Mapping[str, Array]) -> Any:
        """Return a PredictRequest."""
        request = self._addressed(messages.PredictRequest())
        request.model_spec.signature_name = signature.name
        for name, array in inputs.items():
            encode(array, signature.inputs[name].dtype, request.inputs[name])
        # One composite output would fail the whole request.
        dense = [spec.name for spec in signature.outputs.values() if not spec.composite]
        if dense and len(dense) < len(signature.outputs):
            request.output_filter.extend(dense)
        return request

    def prediction(self, response: Any) -> tuple[dict[str, Array], int | None]:
        """Return the outputs by name and the version that answered."""
        self._answered = True
        outputs = {name: decode(name, proto) for name, proto in sorted(response.outputs.items())}
        return outputs, response.model_spec.version.value

    def metadata_request(self) -> Any:
        """Return a GetModelMetadataRequest for the signatures."""
        request = self._addressed(messages.GetModelMetadataRequest())
        request.metadata_field.append("signature_def")
        return request

    def metadata(self, response: Any) -> ModelMetadata:
        """Return the signatures of the model."""
        self._answered = True
        packed = response.metadata["signature_def"]
        definitions = messages.SignatureDefMap.FromString(packed.value).signature_def
        return ModelMetadata(
            model=self._endpoint.model,
            version=response.model_spec.version.value,
            signatures={
                name: Signature(name, _specs(definition.inputs), _specs(definition.outputs))
                for name, definition in sorted(definitions.items())
            },
        )

    def status_request(self) -> Any:
        """Return a GetModelStatusRequest."""
        return self._addressed(messages.GetModelStatusRequest())

    def status(self, response: Any) -> ModelStatus:
        """Return the state of the model's versions."""
        self._answered = True
        return ModelStatus(
            self._endpoint.model,
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

    def error(self, error: Any, deadline: Deadline) -> PredictionError:
        """Return the client's error for gRPC's; may block for some seconds to ask the port."""
        code, details = error.code().name, error.details() or ""
        if code == "DEADLINE_EXCEEDED" and self._answered:
            return self.too_late(deadline)  # What listens there is known.
        if code not in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
            return ServerError(self.address, code, details)
        if self.proxy is not None:
            return self._behind_proxy(code, details, deadline)
        # gRPC says UNAVAILABLE for whatever it met on the way, and waits out the deadline where
        # nothing answers its greeting. Its texts change from release to release: ask the port.
        timeout = min(1.0, deadline.seconds)
        host, port = self._endpoint.host, self._endpoint.port
        listens = what_listens(host, port, timeout)
        if listens == NOTHING:
            return ConnectionFailed(
                f"No connection to {self.address} ({_reason(details)}). "
                "Check host and port, and that the server runs.",
                transient=True,
            )
        if self._answered:
            # It is the right port: a server that is about to die takes connections and drops them.
            return ServerError(self.address, code, details)
        if self._tls is not None:
            try:
                listens = listens_inside(self.address, host, port, listens, timeout, self._tls)
            except ConnectionFailed as exc:
                return exc
        if listens == DROPS:
            return ConnectionFailed(
                f"{self.address} takes connections and drops them ({_reason(details)}). Check "
                "that the server behind it runs, that it is the gRPC port, and whether it asks "
                "for TLS.",
                transient=True,
            )
        if listens == TLS:
            return ConnectionFailed(
                f"{self.address} asks for TLS. Use it, or give the port of plain gRPC."
            )
        if listens == HTTP1:
            return ConnectionFailed(
                f"{self.address} speaks HTTP/1, not gRPC. Use the transport `rest`, "
                "or give the server's gRPC port (TF Serving's own is 8500)."
            )
        if code == "DEADLINE_EXCEEDED":
            return self.too_late(deadline)
        if listens == HTTP2:
            return ServerError(self.address, code, details)
        if listens == SILENT:
            return ConnectionFailed(
                f"{self.address} takes connections and does not answer ({_reason(details)}). "
                "Check that the server behind it runs, and that it is the gRPC port.",
                transient=True,
            )
        kind = "plain gRPC" if self._tls is None else "gRPC"
        return ConnectionFailed(
            f"{self.address} is open but does not speak {kind} ({_reason(details)}). "
            "Check the port, and whether it asks for TLS."
        )

    def _behind_proxy(self, code: str, details: str, deadline: Deadline) -> PredictionError:
        """Return the error of a call by way of a proxy, behind which no port can be asked."""
        if code == "DEADLINE_EXCEEDED":
            return self.too_late(deadline)
        if self._answered:
            return ServerError(self.address, code, details)
        return ConnectionFailed(
            f"No connection to {self.address} by way of the proxy {self.proxy} "
            f"({_reason(details)}). Check that the proxy lets CONNECT through to that port, or "
            f"have no_proxy name {self._endpoint.host}.",
            transient=True,
        )

    def too_late(self, deadline: Deadline) -> DeadlineExceeded:
        """Return the error of a call that has used up its time."""
        return DeadlineExceeded(
            f"No answer from {self.address} within {deadline.seconds:g} s. "
            "Allow a longer timeout, or send less at once."
        )

    def _addressed(self, request: Any) -> Any:
        request.model_spec.name = self._endpoint.model
        if self._endpoint.version is not None:
            request.model_spec.version.value = self._endpoint.version
        elif self._endpoint.version_label is not None:
            request.model_spec.version_label = self._endpoint.version_label
        return request


def _specs(tensors: Mapping[str, Any]) -> dict[str, TensorSpec]:
    return {name: _spec(name, info) for name, info in sorted(tensors.items())}


def _spec(name: str, info: Any) -> TensorSpec:
    tf_name = messages.DATA_TYPE_NAMES.get(info.dtype, str(info.dtype))
    encoding = info.WhichOneof("encoding")
    composite = ""
    if encoding == "coo_sparse":
        composite = "sparse"
    elif encoding == "composite_tensor":
        kind = info.composite_tensor.type_spec.type_spec_class
        composite = COMPOSITES.get(messages.TYPE_SPEC_NAMES.get(kind, ""), "composite")
    shape = tuple(None if dim.size < 0 else int(dim.size) for dim in info.tensor_shape.dim)
    return TensorSpec(
        name,
        DTYPES.get(tf_name, tf_name),
        None if info.tensor_shape.unknown_rank else shape,
        composite,
    )


def _reason(details: str) -> str:
    """Return the last, most telling part of gRPC's chained texts."""
    reason = details.rpartition(": ")[2].rstrip("]) ")
    return (reason + ")" if "(" in reason else reason) or "no reason given"
