"""What a transport is, and what it gets: an endpoint, and for each call a deadline."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..results import ModelStatus
from ..specs import ModelMetadata, Signature

if TYPE_CHECKING:
    from ..specs import Array


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


def _address(host: str, port: int) -> str:
    """Return `host:port`, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
