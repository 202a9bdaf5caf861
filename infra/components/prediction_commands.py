"""Command lines of the three processes in a prediction pod (docs/contracts.md)."""

from collections.abc import Sequence
from typing import Literal

import pulumi

from .access import CERTIFICATE_FILE, KEY_FILE, SSL_CONFIG_FILE, TOKEN_FILE, Access
from .scraping import Scraping

ServingEngine = Literal["embedded", "tensorflow-serving"]

GRPC_PORT = 8500
REST_PORT = 8501
PAGE_PORT = 8080

MODELS = "/models"
"""Folder of the pod in which the model lies, below its name."""

MONITORING_FOLDER = "/etc/dlstack/monitoring"
MONITORING_FILE = "monitoring.config"
MONITORING = "prometheus_config { enable: true }\n"
"""The server's numbers, at its REST port's default path for them, where the gateway asks."""

_CANT_TELL = 3
"""Exit status of `serving.check`: docs/contracts.md."""

_CONNECTION_SHARE = 0.75
"""Of the time for requests under way, in which a connection to TensorFlow Serving ends by itself:
it tells nobody that it is to end."""

MAX_REQUEST_BYTES = 128 * 2**20
"""Of the embedded server, and of the gateway when it passes REST on."""


def sync(
    model_name: str, model_url: pulumi.Input[str], version: pulumi.Input[int]
) -> list[pulumi.Input[str]]:
    """Return the command that copies one version of the model from the bucket into the pod."""
    return [
        *("python3", "-m", "serving.sync"),
        pulumi.Output.concat("--source_url=", model_url),
        pulumi.Output.concat("--model_version=", pulumi.Output.from_input(version).apply(str)),
        f"--target_dir={MODELS}/{model_name}",
    ]


def check(
    engine: ServingEngine,
    model_name: str,
    version: pulumi.Input[int],
    *,
    op_libraries: Sequence[str],
) -> list[pulumi.Input[str]]:
    """Return the command that runs each signature of the model once, before it may serve."""
    flags = [f"--engine={engine}"]
    if op_libraries:
        flags.append(f"--custom_op_libraries={','.join(op_libraries)}")
    # What it can't tell is no reason to refuse a model.
    # A container's first process gets no signal that it doesn't wait for.
    script = (
        'trap "exit 143" TERM; python3 -m serving.check "$@" & wait $!; status=$?; '
        f"[ $status = {_CANT_TELL} ] || exit $status"
    )
    folder = pulumi.Output.concat(
        f"{MODELS}/{model_name}/", pulumi.Output.from_input(version).apply(str)
    )
    return ["sh", "-c", script, "check", folder, *flags]


def server(
    engine: ServingEngine,
    model_name: str,
    *,
    batching: bool,
    cors: bool,
    op_libraries: Sequence[str],
    access: Access | None,
    drain_seconds: int,
    monitored: bool,
) -> list[str]:
    """Return the command of the model server; most flags are the same for both engines."""
    flags = [
        f"--port={GRPC_PORT}",
        f"--rest_api_port={REST_PORT}",
        f"--model_name={model_name}",
        f"--model_base_path={MODELS}/{model_name}",
        # Its own tries are a minute apart, and nobody hears of them. Kubernetes starts a server
        # that has failed again, and keeps its last words.
        "--max_num_load_retries=0",
    ]
    if batching:
        flags.append("--enable_batching=true")
    if cors:
        flags.append("--rest_api_enable_cors_support=true")
    if access is not None and access.encrypts:
        flags.append(f"--ssl_config_file={SSL_CONFIG_FILE}")
    if monitored:
        flags.append(f"--monitoring_config_file={MONITORING_FOLDER}/{MONITORING_FILE}")
    if engine == "tensorflow-serving":
        # Off by default there; its port opens when the model is loaded.
        flags.append(f"--grpc_channel_arguments={_channel_arguments(drain_seconds)}")
        return ["tensorflow_model_server", *flags, "--enable_grpc_healthcheck_service=true"]
    flags.append(f"--drain_seconds={drain_seconds}")
    # What is served stands in the Deployment: no caller may change it.
    flags += [f"--max_request_bytes={MAX_REQUEST_BYTES}", "--enable_reload_requests=false"]
    if op_libraries:
        flags.append(f"--custom_op_libraries={','.join(op_libraries)}")
    if access is not None:
        # Behind the gateway in the same pod, which has what REST lacks: encryption.
        flags.append("--rest_api_host=127.0.0.1")
        flags += _token(access)
    return ["python3", "-m", "serving", *flags]


def _channel_arguments(drain_seconds: int) -> str:
    """Return what the embedded server does by itself: connections live, and are made anew."""
    found = {
        "grpc.keepalive_time_ms": 60_000,
        "grpc.keepalive_timeout_ms": 20_000,
        "grpc.keepalive_permit_without_calls": 1,
        "grpc.http2.max_pings_without_data": 0,
        "grpc.max_connection_age_ms": max(1000, round(drain_seconds * _CONNECTION_SHARE * 1000)),
        "grpc.max_connection_age_grace_ms": drain_seconds * 1000,
    }
    return ",".join(f"{name}={value}" for name, value in found.items())


def before_server_ends(
    engine: ServingEngine, *, pause_seconds: int, drain_seconds: int
) -> list[str]:
    """Return what runs in the server's container before it gets SIGTERM.

    It ends when no node sends anything more and the gateway, which asks the server, has ended.
    TensorFlow Serving ends at once on SIGTERM, whatever it does: so also when no client is
    connected any more.
    """
    wait = "while [ $SECONDS -lt $end ] && {condition}; do sleep 0.5; done"
    lines = [
        f"sleep {pause_seconds}",
        f"end=$((SECONDS + {drain_seconds}))",
        wait.format(condition=f"(: </dev/tcp/127.0.0.1/{PAGE_PORT}) 2>/dev/null"),
    ]
    if engine == "tensorflow-serving":
        ports = f"({GRPC_PORT:04X}|{REST_PORT:04X})"
        # Columns of proc(5): local address, remote address, state; 01 is ESTABLISHED.
        asked = f"grep -qE '^ *[0-9]+: [0-9A-F]+:{ports} [0-9A-F]+:[0-9A-F]+ 01 '"
        lines.append(wait.format(condition=f"cat /proc/net/tcp /proc/net/tcp6 | {asked}"))
    return ["bash", "-c", "; ".join(lines)]


def gateway(
    model_name: str,
    tensorboard_url: pulumi.Input[str],
    *,
    cors: bool,
    access: Access | None,
    drain_seconds: int,
    scraping: Scraping | None,
) -> list[pulumi.Input[str]]:
    """Return the command of the web page, which asks for what the ports ask for."""
    command: list[pulumi.Input[str]] = [
        *("python3", "-m", "serving.gateway"),
        f"--port={PAGE_PORT}",
        f"--model_name={model_name}",
        f"--rest_url=http://127.0.0.1:{REST_PORT}",
        f"--manifest_dir={MODELS}/{model_name}",
        f"--drain_seconds={drain_seconds}",
        pulumi.Output.concat("--tensorboard_url=", tensorboard_url),
    ]
    if scraping is not None:
        command += scraping.flags
    if cors:
        command.append("--rest_api_enable_cors_support")
    if access is not None:
        command += _token(access)
    if access is not None and access.encrypts:
        command += [f"--tls_cert={CERTIFICATE_FILE}", f"--tls_key={KEY_FILE}"]
    return command


def _token(access: Access) -> list[str]:
    return [f"--token_file={TOKEN_FILE}"] if access.has_token else []
