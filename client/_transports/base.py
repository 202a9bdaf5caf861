"""What a transport is, and what it gets: an endpoint, and for each call a deadline."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from ..errors import SettingsError
from ..results import ModelStatus
from ..specs import ModelMetadata, Signature

if TYPE_CHECKING:
    from ..specs import Array


TransportName = Literal["grpc", "rest"]

#: TF Serving's own ports (model_servers/main.cc and its Docker entry point).
DEFAULT_PORTS: Mapping[str, int] = {"grpc": 8500, "rest": 8501}

#: What TF calls tensors that are several in one (struct.proto).
COMPOSITES: Mapping[str, str] = {"RAGGED_TENSOR_SPEC": "ragged", "SPARSE_TENSOR_SPEC": "sparse"}

DEFAULT_TIMEOUT = 10.0
"""Seconds. The managed service's client had MAX_RESPONSE_TIME = 3000, meant as milliseconds:
`timeout=3`. (It handed that figure to gRPC, which counts seconds, and so waited for 50 minutes.)"""

DEFAULT_RETRIES = 3

CONNECT_SECONDS = 3
"""How long one attempt to connect may take, if another may lead to another server."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Which server and model a transport asks."""

    host: str
    port: int
    model: str
    version: int | None
    """Absent, and without a label: the highest that is loaded."""
    version_label: str | None
    """What the server's configuration calls one of its versions."""

    @property
    def address(self) -> str:
        """`host:port`."""
        return _address(self.host, self.port)


class Deadline:
    """`seconds` from now on."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def allows(self, seconds: float) -> bool:
        """Return whether more than `seconds` are left."""
        return time.monotonic() + seconds < self._end

    def left(self) -> float:
        """Return the seconds that are left, above 0.

        Raises:
            TimeoutError: none are.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class Transport(Protocol):
    """One way to call one model on one server; both have the same errors."""

    def predict(
        self, signature: Signature, inputs: Mapping[str, Array], deadline: Deadline
    ) -> tuple[dict[str, Array], int | None]: ...

    def metadata(self, deadline: Deadline) -> ModelMetadata: ...

    def status(self, deadline: Deadline) -> ModelStatus: ...

    def close(self) -> None: ...


def split_host(text: str) -> tuple[str, int | None]:
    """Return the host of `HOST`, `HOST:PORT`, `[IPv6]` or `[IPv6]:PORT`, and the port if any.

    Raises:
        SettingsError: it is none of them.
    """
    host, port = text, ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
        wrong = not bracket or ":" not in host or (rest != "" and not rest.startswith(":"))
    else:
        if text.count(":") == 1:
            host, _, port = text.partition(":")
        wrong = False
    wrong = wrong or not host or any(char in host for char in "/@[] ")
    wrong = wrong or (text != host and text[-1:] == ":") or not (port.isdecimal() or port == "")
    if ":" in host and not wrong:
        import ipaddress

        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            wrong = True
    if wrong:
        raise SettingsError(
            f"Host {text!r} is not a host name or address. Give it without scheme or path."
        )
    return host, int(port) if port else None


def _address(host: str, port: int) -> str:
    """Return `host:port`, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
