"""Settings of the gRPC port by the names of gRPC's channel arguments."""

from __future__ import annotations

from ...config import ServerConfig
from ...goodbye import MOST_AGE_SECONDS

_AGE = "grpc.max_connection_age_ms"

_DEFAULTS: dict[str, int | str] = {
    "grpc.max_send_message_length": -1,
    # Two servers on one port would share the requests without a word.
    "grpc.so_reuseport": 0,
    # Firewalls and address translation forget connections that are idle for some minutes, without a
    # word; the next call would take its whole deadline to find out.
    "grpc.keepalive_time_ms": 60_000,
    "grpc.keepalive_timeout_ms": 20_000,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.http2.max_pings_without_data": 0,
    "grpc.http2.min_recv_ping_interval_without_data_ms": 10_000,
    # Clients look anew where to connect: to pods that are new, too. Calls under way end first.
    _AGE: MOST_AGE_SECONDS * 1000,
}


def channel_arguments(config: ServerConfig) -> dict[str, int | str]:
    """Return all arguments: the defaults, and what `--grpc_channel_arguments` says instead."""
    return {
        **_DEFAULTS,
        "grpc.max_receive_message_length": config.max_request_bytes,
        **_parsed(config.grpc_channel_arguments),
    }


def most_age_seconds(config: ServerConfig) -> float:
    """Return how old a connection may be, also one of REST; 0: any age."""
    given = channel_arguments(config)[_AGE]
    return max(0, given / 1000) if isinstance(given, int) else 0


def _parsed(text: str) -> dict[str, int | str]:
    """Parse `key=value,key=value`; a value that looks like an integer is one."""
    arguments: dict[str, int | str] = {}
    for pair in filter(None, text.split(",")):
        key, _, value = pair.partition("=")
        arguments[key] = int(value) if value.lstrip("-").isdigit() else value
    return arguments
