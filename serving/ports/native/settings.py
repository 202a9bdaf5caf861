"""What the front end is told at its start: addresses, limits, certificates, texts."""

from __future__ import annotations

import base64
import json
import logging
from typing import Any

from google.protobuf import descriptor_pb2  # type: ignore[import-untyped]
from google.protobuf.descriptor import FileDescriptor  # type: ignore[import-untyped]

from ...authentication import REFUSAL, Token
from ...budget import in_words
from ...config import ServerConfig
from ...predict.call import too_late
from ...wire import json_errors
from ..connections import BODY_SECONDS, HEADER_SECONDS, KEEP_ALIVE_SECONDS, most_connections
from ..grpc import credentials
from ..grpc.api import HEALTH_SERVICES, MODEL_SERVICE, PREDICTION_SERVICE
from ..grpc.arguments import channel_arguments, most_age_seconds
from ..rest.body import TooLargeError

log = logging.getLogger(__name__)

_ARGUMENTS = {
    "grpc.max_receive_message_length": "most_message_bytes",
    "grpc.max_send_message_length": "most_sent_bytes",
    "grpc.max_metadata_size": "most_header_bytes",
    "grpc.max_concurrent_streams": "most_streams",
    "grpc.keepalive_time_ms": "keepalive_time_ms",
    "grpc.keepalive_timeout_ms": "keepalive_timeout_ms",
    "grpc.keepalive_permit_without_calls": "pings_without_calls",
    "grpc.http2.min_recv_ping_interval_without_data_ms": "minimal_ping_ms",
    "grpc.max_connection_age_ms": "max_connection_age_ms",
    "grpc.max_connection_age_grace_ms": "max_connection_age_grace_ms",
    "grpc.max_connection_idle_ms": "max_connection_idle_ms",
}
"""Channel arguments that the front end honours, by its own names for them."""

_KNOWN = {"grpc.so_reuseport", "grpc.http2.max_pings_without_data"}
"""Defaults that the front end needs no telling of."""

_COMING_SHARE = 4
"""A quarter of the memory for requests is for bodies that the front end is receiving: each is there
once more while it is handed over, and Python counts it from then on."""

_UNTAKEN_SHARE = 2
"""Half as much as requests may hold is for answers that Python has given and no longer counts, and
that their clients have not taken yet."""

_CALLS_THAT_COME = 1000
"""Over gRPC, besides those that Python has: it refuses what is above that by itself."""

_HEADER_BYTES = 64 * 2**10

_PASSED_HEADERS = (
    "content-encoding",
    "origin",
    "access-control-request-method",
    "access-control-request-headers",
)


def settings(
    config: ServerConfig, most_bytes: int, headers: tuple[tuple[bytes, bytes], ...]
) -> bytes:
    """Return all of it as the front end reads it, in JSON.

    Args:
        config: of the server.
        most_bytes: that bodies may take in the front end, together.
        headers: of every REST response.

    Raises:
        ServingError: a file that the flags name can't be used.
    """
    token = Token.read(config.token_file)
    coming_bytes = most_bytes // _COMING_SHARE
    untaken_bytes = most_bytes // _UNTAKEN_SHARE
    return json.dumps(
        {
            "grpc": _grpc(config),
            "rest": _rest(config, coming_bytes, untaken_bytes, headers),
            "token_digest": token.digest if token is not None else "",
            "health_services": HEALTH_SERVICES,
            "most_waiting_bytes": coming_bytes,
            "too_much_waits": _too_much(coming_bytes),
            "most_untaken_bytes": untaken_bytes,
            "too_much_untaken": _untaken(untaken_bytes),
            "most_connections": most_connections(),
            "most_request_bytes": min(config.max_request_bytes, coming_bytes),
        }
    ).encode()


def _grpc(config: ServerConfig) -> dict[str, Any]:
    certificates = credentials.read(config.ssl_config_file)
    services = (PREDICTION_SERVICE, MODEL_SERVICE)
    given: dict[str, Any] = {"most_header_bytes": _HEADER_BYTES}
    for name, value in channel_arguments(config).items():
        if name in _ARGUMENTS and isinstance(value, int):
            given[_ARGUMENTS[name]] = value
        elif name not in _KNOWN:
            log.warning("--grpc_channel_arguments: %s has no effect on the native front end.", name)
    given["pings_without_calls"] = bool(given["pings_without_calls"])
    return given | {
        "port": config.port,
        "socket_path": config.grpc_socket_path,
        "services": {one.full_name: [method.name for method in one.methods] for one in services},
        "files": base64.b64encode(_files(services)).decode(),
        "tls": vars(certificates) if certificates is not None else None,
        "refusal": REFUSAL,
        "most_calls": config.grpc_threads + config.max_waiting_requests + _CALLS_THAT_COME,
        "too_many_calls": "Too many calls are open on all connections together. Try again later.",
    }


def _rest(
    config: ServerConfig,
    coming_bytes: int,
    untaken_bytes: int,
    headers: tuple[tuple[bytes, bytes], ...],
) -> dict[str, Any]:
    return {
        "port": config.rest_api_port,
        "host": config.rest_api_host,
        "most_header_bytes": _HEADER_BYTES,
        "passed_headers": _PASSED_HEADERS,
        "headers": [(name.decode(), value.decode()) for name, value in headers],
        "refusal": json.dumps({"error": REFUSAL}),
        "too_large": _json(_too_large(config, coming_bytes)),
        "too_much_waits": _json(_too_much(coming_bytes)),
        "too_much_untaken": _json(_untaken(untaken_bytes)),
        "too_late": _json(too_late().message),
        "timeout_ms": config.rest_api_timeout_in_ms,
        "unavailable": _json("The server is stopping."),
        "gone": _json(
            "The connection was closed on the client's side before the answer. Keep it open."
        ),
        "keep_alive_ms": KEEP_ALIVE_SECONDS * 1000,
        "header_timeout_ms": HEADER_SECONDS * 1000,
        "body_timeout_ms": BODY_SECONDS * 1000,
        "max_connection_age_ms": round(most_age_seconds(config) * 1000),
    }


def _too_large(config: ServerConfig, coming_bytes: int) -> str:
    if config.max_request_bytes <= coming_bytes:
        return str(TooLargeError(config.max_request_bytes))
    return (
        "The request's body is too large for the memory of all requests together: bodies may "
        f"have {in_words(coming_bytes)} (--max_waiting_bytes). Send less at once, or give the "
        "server more memory."
    )


def _too_much(coming_bytes: int) -> str:
    return (
        "Requests that are on their way have too many bytes already: they may have "
        f"{in_words(coming_bytes)} together (--max_waiting_bytes). Try again later."
    )


def _untaken(untaken_bytes: int) -> str:
    return (
        "Answers that their clients have not taken yet have too many bytes: they may have "
        f"{in_words(untaken_bytes)} together (--max_waiting_bytes). Try again later."
    )


def _json(text: str) -> str:
    return json_errors.body(text).decode()


def _files(services: Any) -> bytes:
    """Return the files that define services and all that they use, each after those it imports."""
    found: dict[str, FileDescriptor] = {}

    def add(file: FileDescriptor) -> None:
        if file.name not in found:
            for other in file.dependencies:
                add(other)
            found[file.name] = file

    for service in services:
        add(service.file)
    files = descriptor_pb2.FileDescriptorSet()
    for file in found.values():
        files.file.append(descriptor_pb2.FileDescriptorProto.FromString(file.serialized_pb))
    content: bytes = files.SerializeToString()
    return content
