"""Which front end serves the ports: the native one, or gRPC's and uvicorn's in this process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Protocol

from ..batching.scheduler import BatchScheduler
from ..budget import Budget
from ..config import ServerConfig
from ..errors import FailedPrecondition, ServingError
from ..models.registry import Models
from .native.program import NAME, Program, find

log = logging.getLogger(__name__)


class Ports(Protocol):
    """The open ports of a server."""

    def start(self) -> None:
        """Answer requests from now on."""

    def update_health(self) -> None:
        """Have the health service say whether every model has a version that serves."""

    def stop(self, grace_seconds: float) -> None:
        """Take no new requests, wait for those under way, then cut them off."""


class PythonPorts:
    """Ports of this process: grpc.aio and uvicorn.

    Raises:
        ServingError: a port can't be bound.
    """

    def __init__(
        self, config: ServerConfig, models: Models, budget: Budget, metrics_path: str
    ) -> None:
        from .grpc.server import GrpcServer
        from .rest.server import RestServer

        self._grpc = GrpcServer(config, models, budget)
        self._rest = (
            RestServer(config, models, budget, metrics_path) if config.rest_api_port else None
        )

    def start(self) -> None:
        """Answer requests from now on."""
        self._grpc.start()
        if self._rest:
            self._rest.start()

    def update_health(self) -> None:
        """Have the health service say whether every model has a version that serves."""
        self._grpc.update_health()

    def stop(self, grace_seconds: float) -> None:
        """Take no new requests, wait for those under way, then cut them off."""
        stops = [self._grpc.stop, *([self._rest.stop] if self._rest else [])]
        threads = [
            threading.Thread(target=stop, args=(grace_seconds,), daemon=True) for stop in stops
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(grace_seconds + 1)


def program(config: ServerConfig) -> Program | None:
    """Start the native front end; None: this process serves the ports itself. The log says why.

    Raises:
        ServingError: `--front_end=native`, and it does not start.
    """
    if config.front_end == "python":
        log.info("Front end: python, as --front_end says.")
        return None
    path = find(config.front_end_program)
    try:
        if path is None:
            raise FailedPrecondition(f"There is no program {NAME} beside python or on PATH.")
        found = Program(path)
        found.greet()
    except ServingError as error:
        if config.front_end == "native":
            raise
        log.info("Front end: python. %s", error.message)
        return None
    log.info("Front end: native, %s.", path)
    return found


def prepare(native: Program | None) -> None:
    """Import what `ports` needs."""
    if native is None:
        import_module(".grpc.server", __package__)
        import_module(".rest.server", __package__)
    else:
        import_module(".native.server", __package__)


def ports(
    native: Program | None,
    config: ServerConfig,
    models: Models,
    scheduler: BatchScheduler,
    budget: Budget,
    metrics_path: str,
    on_lost: Callable[[], None],
) -> Ports:
    """Return the ports of a server, served by a program or by this process.

    Args:
        native: what `program` has returned.
        config: of the server.
        models: what is served.
        scheduler: of the models' batches.
        budget: for what waits.
        metrics_path: see `RestApi`.
        on_lost: called when the native front end has ended by itself.

    Raises:
        ServingError: a port can't be bound.
    """
    if native is None:
        return PythonPorts(config, models, budget, metrics_path)
    from .native.server import NativePorts

    return NativePorts(native, config, models, scheduler, budget, metrics_path, on_lost)
