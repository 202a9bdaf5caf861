"""The command line: flag names, syntax and defaults of `tensorflow_model_server`.

Source of names, defaults and behaviour: TensorFlow Serving's `model_servers/main.cc` and
`server.h`, and TensorFlow's `core/util/command_line_flags.cc`. Nothing heavy is imported here, so
that `--help` is fast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from . import machine
from .errors import InvalidArgument, Unimplemented


def _flag(default: object, text: str) -> Any:
    return field(default=default, metadata={"help": text})


MOST_REQUEST_BYTES = 2**31 - 1
"""TensorFlow Serving's limit for gRPC, and the longest message that protobuf can read."""

FRONT_ENDS = ("auto", "native", "python")


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """One field for each flag that has an effect; the flag's name is the field's name."""

    port: int = _flag(8500, "TCP port for gRPC, on 0.0.0.0; 0 turns it off.")
    grpc_socket_path: str = _flag("", "Unix socket to listen on for gRPC as well.")
    rest_api_port: int = _flag(0, "TCP port for HTTP/REST; 0 turns it off.")
    rest_api_num_threads: int = _flag(0, "Threads that answer HTTP requests; 0: 4 per CPU.")
    grpc_max_threads: int = _flag(0, "Threads that answer gRPC calls; 0: 4 per CPU.")
    max_waiting_requests: int = _flag(
        1000,
        "Requests of each port that may wait for a thread; others are refused as UNAVAILABLE."
        " Not TF Serving's.",
    )
    max_waiting_bytes: int = _flag(
        0,
        "Memory of all requests that wait or run, in bytes; others are refused as"
        " RESOURCE_EXHAUSTED. 0: half of what models leave of the container's. Not TF Serving's.",
    )
    max_request_bytes: int = _flag(
        MOST_REQUEST_BYTES,
        "Longest gRPC message and REST body, in bytes; longer ones are refused unread. Not TF"
        " Serving's.",
    )
    front_end: str = _flag(
        "auto",
        "What serves the ports: native (the program dlstack-frontend), python, or auto: native"
        " where the program is. Not TF Serving's.",
    )
    front_end_program: str = _flag(
        "",
        "Path of the program of --front_end=native; empty: dlstack-frontend beside python or on"
        " PATH. Not TF Serving's.",
    )
    rest_api_timeout_in_ms: int = _flag(30000, "Longest run of a model for a REST request, in ms.")
    rest_api_enable_cors_support: bool = _flag(False, "Send CORS headers to browsers.")
    model_name: str = _flag("default", "Name of the model.")
    model_base_path: str = _flag(
        "", "Folder whose numbered sub-folders are the model's versions; absolute."
    )
    model_config_file: str = _flag(
        "", "Text-format ModelServerConfig; replaces --model_name and --model_base_path."
    )
    model_config_file_poll_wait_seconds: int = _flag(
        0, "Seconds between looks at --model_config_file; 0 reads it once."
    )
    allow_version_labels_for_unavailable_models: bool = _flag(
        False, "Let a new label name a version that is not loaded yet."
    )
    file_system_poll_wait_seconds: int = _flag(
        1, "Seconds between looks for new versions; 0 looks once at the start, below 0 never."
    )
    enable_batching: bool = _flag(False, "Run requests that wait at the same time as one.")
    batching_parameters_file: str = _flag(
        "", "File with a BatchingParameters message in text form; needs --enable_batching."
    )
    enable_per_model_batching_parameters: bool = _flag(
        False,
        "Batch those models alone that have a file batching_params.pbtxt in the version's folder, "
        "by its values; of --batching_parameters_file only num_batch_threads counts then.",
    )
    max_num_load_retries: int = _flag(5, "How often a failed load is tried again.")
    load_retry_interval_micros: int = _flag(60_000_000, "Wait between these tries, in us.")
    num_load_threads: int = _flag(
        0, "Versions loaded side by side once the first are loaded; 0 means 1."
    )
    num_unload_threads: int = _flag(0, "Versions unloaded side by side; 0 means 1.")
    saved_model_tags: str = _flag("serve", "Comma-separated tags of the meta graph to load.")
    enable_model_warmup: bool = _flag(
        True, "Run the requests in a version's assets.extra/tf_serving_warmup_requests first."
    )
    num_request_iterations_for_warmup: int = _flag(0, "How often each is run; 0 means once.")
    monitoring_config_file: str = _flag(
        "", "Text-format MonitoringConfig: where the REST port shows metrics for Prometheus."
    )
    enable_signature_method_name_check: bool = _flag(
        False, "Refuse requests for signatures whose method_name is another."
    )
    ssl_config_file: str = _flag(
        "", "Text-format SSLConfig: key and certificate of the gRPC port; REST stays plain."
    )
    token_file: str = _flag(
        "", "File with a token that requests have to bring, over gRPC and REST. Not TF Serving's."
    )
    enable_reload_requests: bool = _flag(
        True,
        "Let HandleReloadConfigRequest replace the list of models; else it is refused as"
        " PERMISSION_DENIED. Not TF Serving's.",
    )
    custom_op_libraries: str = _flag(
        "",
        "Comma-separated paths of shared libraries with operations that TensorFlow does not have,"
        " such as TensorFlow Text's. Not TF Serving's: there they are compiled in.",
    )
    rest_api_host: str = _flag(
        "", "Address that the REST port is bound to; empty: all. Not TF Serving's."
    )
    drain_seconds: float = _flag(
        2.0,
        "How long requests under way may take after SIGTERM, and clients of kept connections to"
        " learn of it. Not TF Serving's.",
    )
    grpc_channel_arguments: str = _flag("", "Comma-separated key=value list for the gRPC server.")
    enable_serialization_as_tensor_content: bool = _flag(
        False, "Answer with tensor_content instead of float_val and its like."
    )
    tensorflow_session_config_file: str = _flag(
        "", "Text-format ConfigProto of the sessions; the following flags have precedence."
    )
    tensorflow_session_parallelism: int = _flag(0, "Threads for both of the following.")
    tensorflow_intra_op_parallelism: int = _flag(0, "Threads within one operation.")
    tensorflow_inter_op_parallelism: int = _flag(0, "Threads for operations side by side.")
    per_process_gpu_memory_fraction: float = _flag(
        0.0, "Share of a GPU's memory to take at the start; 0: all of it."
    )
    version: bool = _flag(False, "Print the version and exit.")

    @property
    def grpc_threads(self) -> int:
        """Return how many threads answer gRPC calls."""
        return self.grpc_max_threads or _usual_threads()

    @property
    def rest_threads(self) -> int:
        """Return how many threads answer HTTP requests."""
        return self.rest_api_num_threads or _usual_threads()


def _usual_threads() -> int:
    return 4 * machine.cpus()


UNSUPPORTED = frozenset(
    {
        "mixed_precision",
        "platform_config_file",
        "prefer_tflite_model",
        "use_alts_credentials",
        "use_tflite_model",
    }
)
"""Flags that change what clients see or how safe the server is: refused rather than ignored."""

IGNORED = frozenset(
    {
        "enable_grpc_healthcheck_service",
        "enable_profiler",
        "flush_filesystem_caches",
        "num_tflite_interpreters_per_pool",
        "num_tflite_pools",
        "remove_unused_fields_from_bundle_metagraph",
        "skip_initialize_tpu",
        "thread_pool_factory_config_file",
        "xla_cpu_compilation_enabled",
        "xla_gpu_compilation_enabled",
    }
)
"""Flags without an effect here; the gRPC health service is always on."""


class UsageError(Exception):
    """The command line can't be understood; the text is for stdout, the exit status 255."""


@dataclass(frozen=True)
class CommandLine:
    """A parsed command line."""

    config: ServerConfig
    warnings: list[str]
    """What the operator should know about arguments that had no effect."""


def parse(arguments: Sequence[str]) -> CommandLine:
    """Parse `--name=value` arguments as TensorFlow does.

    An unknown argument is only reported; `--name value` is two unknown arguments.

    Raises:
        UsageError: `--help`, or a value of the wrong type.
        ServingError: a flag that this server does not support, or a bad combination.
    """
    types = {spec.name: _PARSERS[str(spec.type)] for spec in fields(ServerConfig)}
    values: dict[str, Any] = {}
    warnings: list[str] = []
    hints: list[str] = []
    for argument in arguments:
        name, equals, value = argument.removeprefix("--").partition("=")
        if argument == "--help":
            raise UsageError(usage())
        if argument.startswith("--") and name in types:
            if not equals and types[name] is _bool:
                value = "true"
            elif not equals:
                hints.append(f"{argument} has no value. Write {argument}=VALUE, with no space.")
                warnings.append(f"unknown argument: {argument}\n{usage()}")
                continue
            try:
                values[name] = types[name](value)
            except ValueError:
                text = f"Couldn't interpret value {value} for flag {name}.\n{usage()}"
                raise UsageError(text) from None
        elif argument.startswith("--") and name in UNSUPPORTED:
            if value != "false" and (value or not equals):
                raise Unimplemented(f"--{name} is not supported by this server.")
        elif argument.startswith("--") and name in IGNORED:
            warnings.append(f"--{name} has no effect on this server.")
        else:
            warnings.append(f"unknown argument: {argument}\n{usage()}")
    config = ServerConfig(**values)
    try:
        if not config.version:
            _check(config)
    except InvalidArgument as error:
        # Perhaps the value is there, and was not taken for one.
        raise InvalidArgument(" ".join([error.message, *hints])) from None
    return CommandLine(config, [*hints, *warnings])


def usage() -> str:
    """Return the text of `--help`."""
    lines = ["usage: python3 -m serving", "Flags:"]
    for spec in fields(ServerConfig):
        default = getattr(ServerConfig(), spec.name)
        shown = f'"{default}"' if isinstance(default, str) else str(default).lower()
        lines.append(f"\t--{spec.name}={shown}\t{spec.type}\t{spec.metadata['help']}")
    return "\n".join(lines)


def _bool(value: str) -> bool:
    if value not in ("true", "false"):
        raise ValueError(value)
    return value == "true"


_PARSERS: dict[str, Callable[[str], object]] = {
    "int": int,
    "float": float,
    "bool": _bool,
    "str": str,
}


def _check(config: ServerConfig) -> None:
    if not config.model_base_path and not config.model_config_file:
        raise InvalidArgument(
            "Both server_options.model_base_path and server_options.model_config_file are empty!"
        )
    if config.max_waiting_bytes < 0:
        raise InvalidArgument(f"--max_waiting_bytes is {config.max_waiting_bytes}. Use 0 or more.")
    if not 1 <= config.max_request_bytes <= MOST_REQUEST_BYTES:
        raise InvalidArgument(
            f"--max_request_bytes is {config.max_request_bytes}. Use 1 to {MOST_REQUEST_BYTES}."
        )
    if config.front_end not in FRONT_ENDS:
        raise InvalidArgument(
            f"--front_end is '{config.front_end}'. Use one of: {', '.join(FRONT_ENDS)}."
        )
    if config.batching_parameters_file and not config.enable_batching:
        raise InvalidArgument(
            "server_options.batching_parameters_file is set without setting "
            "server_options.enable_batching to true."
        )
    if not config.port and not config.grpc_socket_path:
        raise InvalidArgument(
            "At least one of server_options.port or grpc_socket_path must be set."
        )
