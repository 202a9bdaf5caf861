"""The gRPC port of a server: bound, served on an event loop of its own, stopped."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from ...authentication import Token
from ...budget import Budget
from ...config import ServerConfig
from ...errors import Code, ServingError
from ...event_loop import EventLoop
from ...models.registry import Models
from ..admission import Admission
from . import credentials as grpc_credentials
from .api import HEALTH_SERVICES, MODEL_SERVICE, PREDICTION_SERVICE
from .arguments import channel_arguments
from .health import Health
from .methods import Methods
from .services import ModelService, PredictionService

HEALTH_SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"]
REFLECTION_SERVICE = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]


class GrpcServer:
    """The gRPC port of a server. Bind it first, so that a port in use is found before serving.

    Its methods can be called from any thread but that of its event loop.

    Raises:
        ServingError: an address can't be bound.
    """

    def __init__(self, config: ServerConfig, models: Models, budget: Budget) -> None:
        self._models = models
        self._budget = budget
        self._stopping = False
        self._loop = EventLoop("grpc", config.grpc_threads)
        self._loop.run(self._bind(config))

    def start(self) -> None:
        """Answer requests from now on."""
        self.update_health()
        self._loop.run(self._server.start())

    def update_health(self) -> None:
        """Have the health service say whether every model has a version that serves."""
        self._loop.call_soon(self._update_health)

    def stop(self, grace_seconds: float) -> None:
        """Take no new requests, wait for those under way, then cut them off."""
        self._stopping = True
        self.update_health()
        self._loop.run(self._server.stop(grace_seconds))

    def _update_health(self) -> None:
        self._health.set(serving=self._models.available and not self._stopping)

    async def _bind(self, config: ServerConfig) -> None:
        arguments = channel_arguments(config)
        self._health = Health(HEALTH_SERVICES)
        self._server = grpc.aio.server(
            handlers=[self._methods(config)],
            # Given twice, the first value of an argument would count.
            options=list(arguments.items()),
        )
        certificates = grpc_credentials.read(config.ssl_config_file)
        credentials = certificates.credentials() if certificates is not None else None
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

    def _methods(self, config: ServerConfig) -> Methods:
        predictions = PredictionService(
            self._models,
            self._loop,
            self._budget,
            as_content=config.enable_serialization_as_tensor_content,
        )
        services = [PREDICTION_SERVICE, MODEL_SERVICE, HEALTH_SERVICE, REFLECTION_SERVICE]
        reflected = reflection.aio.ReflectionServicer([one.full_name for one in services])
        methods = Methods(Token.read(config.token_file))
        admission = Admission(config.grpc_threads + config.max_waiting_requests)
        methods.add(PREDICTION_SERVICE, predictions, admission)
        methods.add(MODEL_SERVICE, ModelService(self._models, self._loop), admission)
        # Without a limit: probes left unanswered under load would end in a restart.
        methods.add(HEALTH_SERVICE, self._health)
        methods.add(REFLECTION_SERVICE, reflected)
        return methods
