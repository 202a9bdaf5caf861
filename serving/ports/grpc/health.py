"""gRPC's health service, `grpc.health.v1.Health`.

Not grpcio-health-checking's own one for asyncio (1.81): when one of several watchers of a service
leaves, the others hear of no further change.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import grpc
from grpc_health.v1 import health_pb2

from ...errors import NotFound

_Response = health_pb2.HealthCheckResponse


class Health:
    """One status for all services of the server.

    Args:
        services: their names.
    """

    def __init__(self, services: Iterable[str]) -> None:
        self._services = frozenset(services)
        self._status = _Response.NOT_SERVING
        self._changed = asyncio.Event()
        """Set at the next change, and replaced."""

    def set(self, *, serving: bool) -> None:
        """Change the status, and tell those that watch; to be called on the event loop."""
        self._status = _Response.SERVING if serving else _Response.NOT_SERVING
        self._changed.set()
        self._changed = asyncio.Event()

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        """Return the status of a service.

        Raises:
            NotFound: there is no such service.
        """
        if request.service not in self._services:
            raise NotFound(f"No service is called '{request.service}'.")
        return _Response(status=self._status)

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Yield the status of a service now, and whenever it has changed."""
        told = None
        while True:
            changed = self._changed
            known = request.service in self._services
            status = self._status if known else _Response.SERVICE_UNKNOWN
            if status != told:
                told = status
                yield _Response(status=status)
            else:
                await changed.wait()
