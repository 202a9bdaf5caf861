"""Start, drain and stop the model server."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tensorflow.core.protobuf import config_pb2

from .config import ServerConfig
from .models import LoadOptions, Model, Models

if TYPE_CHECKING:
    from .grpc_api import GrpcServer
    from .rest_api import RestServer

log = logging.getLogger(__name__)

DRAIN_SECONDS = 2.0
"""How long requests under way may take after SIGTERM."""


def run(config: ServerConfig) -> None:
    """Load the model, serve until SIGTERM or SIGINT, drain and return.

    Raises:
        ServingError: the model can't be loaded, or a port can't be bound.
    """
    stopping = threading.Event()
    models = Models([_model(config, lambda: update_health())])
    grpc_server = None

    def update_health() -> None:
        if grpc_server is not None:
            grpc_server.update_health()

    def stop(*_: object) -> None:
        stopping.set()
        # Not here: the lock that this takes may be held by the very thread that the signal
        # interrupted.
        threading.Thread(target=models.stop, daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    models.start()
    # Imported while TensorFlow loads the model in its own thread, without the GIL.
    from .grpc_api import GrpcServer
    from .rest_api import RestServer

    models.wait_until_available()
    if stopping.is_set():
        return
    grpc_server = GrpcServer(config, models)
    rest_server = None
    if config.rest_api_port and config.rest_api_port == config.port:
        log.error("--rest_api_port is the same as --port: not serving HTTP/REST.")
    elif config.rest_api_port:
        rest_server = RestServer(config, models)
    grpc_server.start()
    log.info("Running gRPC ModelServer at 0.0.0.0:%d ...", config.port)
    if rest_server:
        rest_server.start()
        log.info("Exporting HTTP/REST API at:localhost:%d ...", config.rest_api_port)
    stopping.wait()
    _drain(grpc_server, rest_server)


def _drain(grpc_server: GrpcServer, rest_server: RestServer | None) -> None:
    started = time.monotonic()
    stops = [threading.Thread(target=grpc_server.stop, args=(DRAIN_SECONDS,), daemon=True)]
    if rest_server:
        stops.append(threading.Thread(target=rest_server.stop, args=(DRAIN_SECONDS,), daemon=True))
    for thread in stops:
        thread.start()
    for thread in stops:
        thread.join(DRAIN_SECONDS + 1)
    log.info("Stopped after %.2f s of draining.", time.monotonic() - started)


def _model(config: ServerConfig, on_change: Callable[[], None]) -> Model:
    threads = config.tensorflow_session_parallelism
    session_config = config_pb2.ConfigProto(
        intra_op_parallelism_threads=config.tensorflow_intra_op_parallelism or threads,
        inter_op_parallelism_threads=config.tensorflow_inter_op_parallelism or threads,
    )
    options = LoadOptions(
        poll_seconds=config.file_system_poll_wait_seconds,
        retries=config.max_num_load_retries,
        retry_seconds=config.load_retry_interval_micros / 1e6,
        tags=tuple(config.saved_model_tags.split(",")),
        session_config=session_config.SerializeToString(),
    )
    return Model(config.model_name, Path(config.model_base_path), options, on_change)
