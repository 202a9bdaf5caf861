"""Start, drain and stop the model server."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.config import model_server_config_pb2

from . import machine, metrics, text_protos
from .batching import parameters
from .batching.parameters import BatchingConfig, BatchingParameters
from .batching.scheduler import BatchScheduler
from .budget import Budget
from .config import ServerConfig
from .errors import ServingError
from .models import settings
from .models.registry import Models
from .models.version import LoadOptions
from .predict import warmup

if TYPE_CHECKING:
    from .ports.front_end import Ports

log = logging.getLogger(__name__)

_SWITCH_SECONDS = 0.001


class FrontEndLostError(Exception):
    """The program that served the ports has ended; so the server has to, and be started anew."""


def run(config: ServerConfig) -> None:
    """Load the models, serve until SIGTERM or SIGINT, drain and return.

    Raises:
        ServingError: a model can't be loaded, or a port can't be bound.
        FrontEndLostError: the program that served the ports has ended.
    """
    stopping = threading.Event()
    options = _load_options(config)
    budget = Budget(config.max_waiting_bytes)
    models = Models(
        options,
        early_labels=config.allow_version_labels_for_unavailable_models,
        callers_replace=config.enable_reload_requests,
        load_threads=config.num_load_threads,
        unload_threads=config.num_unload_threads,
        on_change=lambda: changed(),
    )
    opened: list[Ports] = []

    def changed() -> None:
        budget.fit()
        for one in opened:
            one.update_health()

    wakes, wake = os.pipe()

    def await_signal() -> None:
        os.read(wakes, 1)
        stopping.set()
        models.stop()

    def stop(*_: object) -> None:
        # No lock may be taken here: the thread that the signal interrupts may hold it, were it only
        # for an instant, as `Event.wait` and `Thread.start` do.
        os.write(wake, b"!")

    threading.Thread(target=await_signal, name="signals", daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    metrics_path = metrics.path(config.monitoring_config_file)
    configured = settings.from_flags(config)
    names = models.replace(configured)
    if config.rest_api_port and config.rest_api_port == config.port:
        log.error("--rest_api_port is the same as --port: not serving HTTP/REST.")
        config = replace(config, rest_api_port=0)
    # Started and imported while TensorFlow loads the model in its own thread, without the GIL.
    from .ports import front_end

    native = front_end.program(config)
    front_end.prepare(native)
    models.wait_until_available(names)
    models.first_models_loaded()
    if stopping.is_set():
        return
    lost = threading.Event()

    def on_lost() -> None:
        lost.set()
        stopping.set()

    ports = front_end.ports(
        native, config, models, options.batch_scheduler, budget, metrics_path, on_lost
    )
    # Who waits for the GIL gets it after this time at most, a dozen times for a request: by default
    # 5 ms, so that a request beside large ones took 50 ms.
    sys.setswitchinterval(_SWITCH_SECONDS)
    # Freeze what start-up made: a full collection over it paused requests for 10 ms.
    gc.freeze()
    ports.start()
    opened.append(ports)
    ports.update_health()
    log.info("Running gRPC ModelServer at 0.0.0.0:%d ...", config.port)
    if config.rest_api_port:
        log.info("Exporting HTTP/REST API at:localhost:%d ...", config.rest_api_port)
    if config.model_config_file and config.model_config_file_poll_wait_seconds > 0:
        _follow_config_file(config, configured, models, stopping)
    stopping.wait()
    if lost.is_set():
        raise FrontEndLostError
    started = time.monotonic()
    ports.stop(config.drain_seconds)
    log.info("Stopped after %.2f s of draining.", time.monotonic() - started)


def _follow_config_file(
    config: ServerConfig,
    applied: model_server_config_pb2.ModelServerConfig,
    models: Models,
    stopping: threading.Event,
) -> None:
    """Apply `--model_config_file` whenever it changes, until told to stop.

    What is refused (a label on a version that is not loaded yet) is tried again at the next poll.
    """
    while not stopping.wait(config.model_config_file_poll_wait_seconds):
        try:
            wanted = settings.from_flags(config)
            if wanted != applied:
                models.replace(wanted)
                applied = wanted
        except ServingError as error:
            log.error("%s changes nothing: %s", config.model_config_file, error)


def _load_options(config: ServerConfig) -> LoadOptions:
    session_config = _session_config(config)
    batching = _batching(config)
    return LoadOptions(
        poll_seconds=config.file_system_poll_wait_seconds,
        retries=config.max_num_load_retries,
        retry_seconds=config.load_retry_interval_micros / 1e6,
        tags=tuple(config.saved_model_tags.split(",")),
        session_config=session_config.SerializeToString(),
        warm_up=(
            partial(warmup.run, iterations=max(1, config.num_request_iterations_for_warmup))
            if config.enable_model_warmup
            else None
        ),
        check_method_names=config.enable_signature_method_name_check,
        batching=batching,
        batch_scheduler=BatchScheduler(batching.common.num_batch_threads if batching else 1),
    )


def _session_config(config: ServerConfig) -> config_pb2.ConfigProto:
    session_config = config_pb2.ConfigProto()
    if config.tensorflow_session_config_file:
        text_protos.read(config.tensorflow_session_config_file, session_config)
    if not session_config.intra_op_parallelism_threads and machine.cpus() < (os.cpu_count() or 1):
        # TensorFlow doesn't see the limit of a container: its threads would wait for each other.
        session_config.intra_op_parallelism_threads = machine.cpus()
    # What flags say has the last word.
    if within := config.tensorflow_intra_op_parallelism or config.tensorflow_session_parallelism:
        session_config.intra_op_parallelism_threads = within
    if between := config.tensorflow_inter_op_parallelism or config.tensorflow_session_parallelism:
        session_config.inter_op_parallelism_threads = between
    if share := config.per_process_gpu_memory_fraction:
        session_config.gpu_options.per_process_gpu_memory_fraction = share
    return session_config


def _batching(config: ServerConfig) -> BatchingConfig | None:
    if not config.enable_batching:
        return None
    common = BatchingParameters()
    if config.batching_parameters_file:
        common = parameters.read(config.batching_parameters_file)
    return BatchingConfig(common, per_model=config.enable_per_model_batching_parameters)
