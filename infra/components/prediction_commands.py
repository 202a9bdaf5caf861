"""Command lines of the three processes in a prediction pod (docs/contracts.md)."""

from collections.abc import Sequence
from typing import Literal

import pulumi

from .access import CERTIFICATE_FILE, KEY_FILE, SSL_CONFIG_FILE, TOKEN_FILE, Access

ServingEngine = Literal["embedded", "tensorflow-serving"]

GRPC_PORT = 8500
REST_PORT = 8501
PAGE_PORT = 8080

MODELS = "/models"
"""Folder of the pod in which the model lies, below its name."""

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


def server(
    engine: ServingEngine,
    model_name: str,
    *,
    batching: bool,
    cors: bool,
    op_libraries: Sequence[str],
    access: Access | None,
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
    if access is not None:
        flags.append(f"--ssl_config_file={SSL_CONFIG_FILE}")
    if engine == "tensorflow-serving":
        # Off by default there; its port opens when the model is loaded.
        return ["tensorflow_model_server", *flags, "--enable_grpc_healthcheck_service=true"]
    # What is served stands in the Deployment: no caller may change it.
    flags += [f"--max_request_bytes={MAX_REQUEST_BYTES}", "--enable_reload_requests=false"]
    if op_libraries:
        flags.append(f"--custom_op_libraries={','.join(op_libraries)}")
    if access is not None:
        # REST has no encryption: the gateway in the same pod passes it on.
        flags.append("--rest_api_host=127.0.0.1")
        flags += _token(access)
    return ["python3", "-m", "serving", *flags]


def gateway(
    model_name: str, tensorboard_url: pulumi.Input[str], *, cors: bool, access: Access | None
) -> list[pulumi.Input[str]]:
    """Return the command of the web page, which asks for what the ports ask for."""
    command: list[pulumi.Input[str]] = [
        *("python3", "-m", "serving.gateway"),
        f"--port={PAGE_PORT}",
        f"--model_name={model_name}",
        f"--rest_url=http://127.0.0.1:{REST_PORT}",
        f"--manifest_dir={MODELS}/{model_name}",
        pulumi.Output.concat("--tensorboard_url=", tensorboard_url),
    ]
    if cors:
        command.append("--rest_api_enable_cors_support")
    if access is not None:
        command += [f"--tls_cert={CERTIFICATE_FILE}", f"--tls_key={KEY_FILE}", *_token(access)]
    return command


def _token(access: Access) -> list[str]:
    return [f"--token_file={TOKEN_FILE}"] if access.has_token else []
