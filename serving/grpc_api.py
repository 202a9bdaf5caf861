"""The gRPC edge: PredictionService and ModelService, health and reflection on one port."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import grpc
from google.protobuf.message import Message  # type: ignore[import-untyped]
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    model_service_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from . import grpc_access, handlers, inference, metrics
from .access import Token
from .config import ServerConfig
from .errors import Code, InvalidArgument, ServingError, as_serving_error
from .grpc_access import TokenInterceptor
from .grpc_parsing import ParsingInterceptor
from .models import Models
from .request_threads import RequestThreads, WaitingInterceptor, in_own_thread

T = TypeVar("T")

_STATUS_CODES = {status.value[0]: status for status in grpc.StatusCode}
_LONGEST_MESSAGE = 1024
_TRUNCATED = "...TRUNCATED"

PREDICTION_SERVICE = prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"]
MODEL_SERVICE = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"]
HEALTH_SERVICES = (
    "",
    PREDICTION_SERVICE.name,
    MODEL_SERVICE.name,
    PREDICTION_SERVICE.full_name,
    MODEL_SERVICE.full_name,
)
"""TensorFlow Serving knows the short names only; the full ones are what gRPC's convention asks."""


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]
    """`tensorflow.serving.PredictionService` over `Models`."""

    def __init__(self, models: Models, *, as_content: bool) -> None:
        self._models = models
        self._as_content = as_content

    def Predict(
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        """Run one signature on the inputs given."""

        def answer() -> predict_pb2.PredictResponse:
            with self._models.lease(*_spec(request)) as version:
                return handlers.predict(
                    version, request, _milliseconds_left(context), as_content=self._as_content
                )

        return self._counted("Predict", request.model_spec.name, answer, context)

    def Classify(
        self, request: classification_pb2.ClassificationRequest, context: grpc.ServicerContext
    ) -> classification_pb2.ClassificationResponse:
        """Run a classification signature on Examples."""

        def answer() -> classification_pb2.ClassificationResponse:
            with self._models.lease(*_spec(request)) as version:
                return inference.classify(version, request, _milliseconds_left(context))

        return self._counted("Classify", request.model_spec.name, answer, context)

    def Regress(
        self, request: regression_pb2.RegressionRequest, context: grpc.ServicerContext
    ) -> regression_pb2.RegressionResponse:
        """Run a regression signature on Examples."""

        def answer() -> regression_pb2.RegressionResponse:
            with self._models.lease(*_spec(request)) as version:
                return inference.regress(version, request, _milliseconds_left(context))

        return self._counted("Regress", request.model_spec.name, answer, context)

    def MultiInference(
        self, request: inference_pb2.MultiInferenceRequest, context: grpc.ServicerContext
    ) -> inference_pb2.MultiInferenceResponse:
        """Run several signatures on the same Examples."""
        # Without tasks: the error of a ModelSpec without a name, as from TensorFlow Serving.
        first = request.tasks[0] if request.tasks else inference_pb2.InferenceTask()

        def answer() -> inference_pb2.MultiInferenceResponse:
            with self._models.lease(*_named(first.model_spec)) as version:
                return inference.multi_inference(version, request, _milliseconds_left(context))

        return self._counted("MultiInference", first.model_spec.name, answer, context)

    def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Return the signatures of a model."""

        def answer() -> get_model_metadata_pb2.GetModelMetadataResponse:
            if not request.HasField("model_spec"):
                raise InvalidArgument("Missing ModelSpec")
            if not request.metadata_field:
                raise InvalidArgument(
                    "GetModelMetadataRequest must specify at least one metadata_field"
                )
            for field in request.metadata_field:
                if field != "signature_def":
                    raise InvalidArgument(f"Metadata field {field} is not supported")
            with self._models.lease(*_spec(request)) as version:
                return handlers.model_metadata(version)

        return _call(answer, context)

    def _counted(
        self, api: str, name: str, answer: Callable[[], T], context: grpc.ServicerContext
    ) -> T:
        known = self._models.metric_name(name)
        return _call(lambda: metrics.counted(known, api, "GRPC", answer), context)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):  # type: ignore[misc]
    """`tensorflow.serving.ModelService` over `Models`."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Return the state of every version of a model, or of one."""

        def answer() -> get_model_status_pb2.GetModelStatusResponse:
            name, number, _ = _spec(request)
            return handlers.model_status(self._models, name, number)

        return _call(answer, context)

    def HandleReloadConfigRequest(
        self, request: model_management_pb2.ReloadConfigRequest, context: grpc.ServicerContext
    ) -> model_management_pb2.ReloadConfigResponse:
        """Replace the list of models; answer once those new in it are AVAILABLE."""

        def answer() -> model_management_pb2.ReloadConfigResponse:
            if request.config.WhichOneof("config") != "model_config_list":
                raise InvalidArgument(
                    "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                    "Only ModelConfigList is currently supported"
                )
            names = self._models.replace(request.config)
            # A model without a version would hold this thread for ever.
            gone = threading.Event()

            def give_up() -> None:
                gone.set()
                self._models.wake()

            context.add_callback(give_up)
            self._models.wait_until_available(names, "model(s)", gone.is_set)
            return model_management_pb2.ReloadConfigResponse()

        return _call(answer, context)


class GrpcServer:
    """The gRPC port of a server. Bind it first, so that a port in use is found before serving.

    Raises:
        ServingError: an address can't be bound.
    """

    def __init__(self, config: ServerConfig, models: Models) -> None:
        self._models = models
        self._health = health.HealthServicer(experimental_non_blocking=True)
        token = Token.read(config.token_file)
        credentials = grpc_access.credentials(config.ssl_config_file)
        arguments = {
            **_CHANNEL_ARGUMENTS,
            "grpc.max_receive_message_length": config.max_request_bytes,
            **_channel_arguments(config.grpc_channel_arguments),
        }
        # Probes must be answered while all threads are busy, or overload ends in a restart.
        self._health.Check = in_own_thread(self._health.Check)
        threads = RequestThreads(config.grpc_threads, config.max_waiting_requests, "grpc")
        self._server = grpc.server(
            threads,
            interceptors=[
                *([TokenInterceptor(token)] if token else []),
                WaitingInterceptor(threads),
                ParsingInterceptor(),
            ],
            # Given twice, the first value of an argument would count.
            options=list(arguments.items()),
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(models, as_content=config.enable_serialization_as_tensor_content),
            self._server,
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            ModelService(models), self._server
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (
                PREDICTION_SERVICE.full_name,
                MODEL_SERVICE.full_name,
                health.SERVICE_NAME,
                reflection.SERVICE_NAME,
            ),
            self._server,
        )
        addresses = [f"0.0.0.0:{config.port}"] if config.port else []
        if config.grpc_socket_path:
            addresses.append(f"unix:{config.grpc_socket_path}")
        for address in addresses:
            try:
                if credentials is not None:
                    self._server.add_secure_port(address, credentials)
                else:
                    self._server.add_insecure_port(address)
            except RuntimeError:
                raise ServingError(
                    Code.UNKNOWN, f"Couldn't start gRPC server on {address}: is it in use?"
                ) from None

    def start(self) -> None:
        """Answer requests from now on."""
        self.update_health()
        self._server.start()

    def update_health(self) -> None:
        """Tell the health service whether every model has a version that serves."""
        serving = health_pb2.HealthCheckResponse.SERVING
        not_serving = health_pb2.HealthCheckResponse.NOT_SERVING
        for service in HEALTH_SERVICES:
            self._health.set(service, serving if self._models.available else not_serving)

    def stop(self, grace_seconds: float) -> None:
        """Take no new requests, wait for those under way, then cut them off."""
        self._health.enter_graceful_shutdown()
        self._server.stop(grace_seconds).wait()


def _spec(request: Message) -> tuple[str, int | None, str]:
    """Return name, version and label of the model that a request is for."""
    if not request.HasField("model_spec"):
        raise InvalidArgument("Missing ModelSpec")
    return _named(request.model_spec)


def _named(spec: model_pb2.ModelSpec) -> tuple[str, int | None, str]:
    number = spec.version.value if spec.HasField("version") else None
    return spec.name, number, spec.version_label


def _call(answer: Callable[[], T], context: grpc.ServicerContext) -> T:
    try:
        return answer()
    except Exception as error:
        known = as_serving_error(error)
        message = known.message
        if len(message) > _LONGEST_MESSAGE:
            message = message[: _LONGEST_MESSAGE - len(_TRUNCATED)] + _TRUNCATED
        context.abort(_STATUS_CODES[known.code], message)
        raise  # abort() has raised already; this tells the type checker.


def _milliseconds_left(context: grpc.ServicerContext) -> int:
    """Return the client's deadline as a session-run time-out; 0 means none."""
    seconds = context.time_remaining()
    # Without a deadline some versions of grpc return None, others the end of time.
    return 0 if seconds is None or seconds > 1e6 else max(1, int(seconds * 1000))


_CHANNEL_ARGUMENTS: dict[str, int | str] = {
    "grpc.max_send_message_length": -1,
    # Two servers on one port would share the requests without a word.
    "grpc.so_reuseport": 0,
}


def _channel_arguments(text: str) -> dict[str, int | str]:
    """Parse `key=value,key=value`; a value that looks like an integer is one."""
    arguments: dict[str, int | str] = {}
    for pair in filter(None, text.split(",")):
        key, _, value = pair.partition("=")
        arguments[key] = int(value) if value.lstrip("-").isdigit() else value
    return arguments
