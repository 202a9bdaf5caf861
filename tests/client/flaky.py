"""A server that fails on purpose, of either transport: real protocol stacks, canned answers."""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import grpc

from tests.certificates import Pem

#: HTTP statuses of TF Serving for the gRPC ones used here.
_HTTP = {"UNAVAILABLE": 503, "RESOURCE_EXHAUSTED": 429}


@dataclass
class Flaky:
    """Answers requests for the status with `code` until `failures` of them have failed."""

    failures: int
    code: str = "UNAVAILABLE"
    port: int = 0
    pem: Pem | None = None
    client_ca: Path | None = None
    requests: list[str] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    """The `authorization` of each request."""

    def fails(self, token: str | None) -> bool:
        self.requests.append("status")
        self.tokens.append(token)
        return len(self.requests) <= self.failures


@contextmanager
def flaky_server(
    transport: str,
    failures: int,
    code: str = "UNAVAILABLE",
    port: int = 0,
    pem: Pem | None = None,
    client_ca: Path | None = None,
) -> Iterator[Flaky]:
    """Run a server, on a free port if none is given; where it works, the model has no versions.

    With `pem` it has TLS, and with `client_ca` asks for a certificate of that authority.
    """
    flaky = Flaky(failures, code, port, pem, client_ca)
    with (_grpc if transport == "grpc" else _rest)(flaky):
        yield flaky


@contextmanager
def _grpc(flaky: Flaky) -> Iterator[None]:
    def status(request: bytes, context: Any) -> bytes:
        if flaky.fails(dict(context.invocation_metadata()).get("authorization")):
            context.abort(grpc.StatusCode[flaky.code], "On purpose")
        return b""

    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        handlers = {"GetModelStatus": grpc.unary_unary_rpc_method_handler(status)}
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("tensorflow.serving.ModelService", handlers)]
        )
        address = f"127.0.0.1:{flaky.port}"
        if flaky.pem is None:
            flaky.port = server.add_insecure_port(address)
        else:
            credentials = grpc.ssl_server_credentials(
                [(flaky.pem.key.read_bytes(), flaky.pem.certificate.read_bytes())],
                flaky.client_ca.read_bytes() if flaky.client_ca else None,
                require_client_auth=flaky.client_ca is not None,
            )
            flaky.port = server.add_secure_port(address, credentials)
        server.start()
        try:
            yield
        finally:
            server.stop(None).wait()


class _Server(ThreadingHTTPServer):
    context: ssl.SSLContext | None = None
    daemon_threads = True  # A connection may be kept for longer than the server.

    def finish_request(self, request: Any, client_address: Any) -> None:
        # In the connection's own thread, so that a bad greeting holds up nobody else.
        if self.context is not None:
            try:
                request = self.context.wrap_socket(request, server_side=True)
            except OSError:
                return  # What the client makes of it is what is tested.
        with request, contextlib.suppress(OSError):
            super().finish_request(request, client_address)


@contextmanager
def _rest(flaky: Flaky) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            fails = flaky.fails(self.headers["authorization"])
            body = json.dumps({"error": "On purpose"} if fails else {"model_version_status": []})
            self.send_response(_HTTP[flaky.code] if fails else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *arguments: object) -> None:
            pass

    with _Server(("127.0.0.1", flaky.port), Handler) as server:
        if flaky.pem is not None:
            server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.context.load_cert_chain(flaky.pem.certificate, flaky.pem.key)
        if flaky.client_ca is not None:
            server.context.load_verify_locations(flaky.client_ca)
            server.context.verify_mode = ssl.CERT_REQUIRED
        flaky.port = server.server_port
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
