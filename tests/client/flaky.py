"""A server that fails on purpose, of either transport: real protocol stacks, canned answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import grpc

#: HTTP statuses of TF Serving for the gRPC ones used here.
_HTTP = {"UNAVAILABLE": 503, "RESOURCE_EXHAUSTED": 429}


@dataclass
class Flaky:
    """Answers requests for the status with `code` until `failures` of them have failed."""

    failures: int
    code: str = "UNAVAILABLE"
    port: int = 0
    requests: list[str] = field(default_factory=list)

    def fails(self) -> bool:
        self.requests.append("status")
        return len(self.requests) <= self.failures


@contextmanager
def flaky_server(
    transport: str, failures: int, code: str = "UNAVAILABLE", port: int = 0
) -> Iterator[Flaky]:
    """Run a server, on a free port if none is given; where it works, the model has no versions."""
    flaky = Flaky(failures, code, port)
    with (_grpc if transport == "grpc" else _rest)(flaky):
        yield flaky


@contextmanager
def _grpc(flaky: Flaky) -> Iterator[None]:
    def status(request: bytes, context: Any) -> bytes:
        if flaky.fails():
            context.abort(grpc.StatusCode[flaky.code], "On purpose")
        return b""

    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        handlers = {"GetModelStatus": grpc.unary_unary_rpc_method_handler(status)}
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("tensorflow.serving.ModelService", handlers)]
        )
        flaky.port = server.add_insecure_port(f"127.0.0.1:{flaky.port}")
        server.start()
        try:
            yield
        finally:
            server.stop(None).wait()


@contextmanager
def _rest(flaky: Flaky) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            fails = flaky.fails()
            body = json.dumps({"error": "On purpose"} if fails else {"model_version_status": []})
            self.send_response(_HTTP[flaky.code] if fails else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", flaky.port), Handler) as server:
        flaky.port = server.server_port
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
