"""The HTTP port of a server: bound, served on an event loop of its own, stopped."""

from __future__ import annotations

import socket
from concurrent.futures import wait

import uvicorn

from ...authentication import Token
from ...budget import Budget
from ...config import ServerConfig
from ...errors import Code, ServingError
from ...event_loop import EventLoop
from ...goodbye import Ending, PatientServer, telling
from ...models.registry import Models
from ..connections import KEEP_ALIVE_SECONDS
from ..grpc.arguments import most_age_seconds
from .asgi import RestApplication
from .protocol import BoundedHttpToolsProtocol


class RestServer:
    """The HTTP port of a server, on an event loop of its own.

    Raises:
        ServingError: the port can't be bound.
    """

    def __init__(
        self, config: ServerConfig, models: Models, budget: Budget, metrics_path: str = ""
    ) -> None:
        token = Token.read(config.token_file)
        self._loop = EventLoop("rest", config.rest_threads)
        application = RestApplication(self._loop, models, budget, config, metrics_path)
        self._socket = _bind(config.rest_api_host, config.rest_api_port)
        ending = Ending()
        self._server = PatientServer(
            uvicorn.Config(
                token.guard(application, headers=application.headers) if token else application,
                http=telling(BoundedHttpToolsProtocol, ending, most_age_seconds(config)),
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                ws="none",
                server_header=False,
                date_header=False,
            ),
            ending,
            config.drain_seconds,
        )

    def start(self) -> None:
        """Answer requests from now on."""
        self._served = self._loop.start(self._server.serve(sockets=[self._socket]))

    def stop(self, grace_seconds: float) -> None:
        """Take no new requests and wait for those under way, at most `grace_seconds`."""
        self._server.drain_seconds = grace_seconds
        self._server.should_exit = True
        wait([self._served], grace_seconds + 1)


def _bind(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Without a host it is on [::] for both families, or on 0.0.0.0 where there is no IPv6.
    """
    try:
        if host:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.create_server((host, port), family=family, backlog=1024)
        elif socket.has_dualstack_ipv6():
            listener = socket.create_server(
                ("::", port), family=socket.AF_INET6, backlog=1024, dualstack_ipv6=True
            )
        else:
            listener = socket.create_server(("0.0.0.0", port), backlog=1024)
    except OSError as error:
        raise ServingError(
            Code.UNKNOWN, f"Couldn't start HTTP server on port {port}: {error.strerror}"
        ) from None
    # asyncio sets this only on sockets made with an explicit protocol number; without it head and
    # body of an answer wait for each other: 40 ms a request. Accepted connections inherit it.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
