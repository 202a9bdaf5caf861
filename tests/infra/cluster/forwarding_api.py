"""A server in place of the cluster's API that lists pods, and forwards ports as the kubelet does.

It speaks TLS and asks for a client's certificate. Pods are ports of this machine.
"""

import contextlib
import json
import select
import socket
import ssl
import struct
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from infra.cluster import websocket
from tests import certificates

NAMESPACE = "stack"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


class ForwardingApi(ThreadingHTTPServer):
    """Listens while it is entered."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pods: dict[str, int] = {}
        """Names of Ready pods -> the ports of this machine that they are."""
        self.unready: dict[str, dict[str, Any]] = {}
        """Names of others -> what is in their metadata and status in place of being Ready."""
        self.asked: list[str] = []
        """Paths."""
        self.pings = 0
        """So often a connection to a pod was asked whether this end is there."""
        self.forbids = False
        self.ports = {"s3": 8333}
        """Of each pod: name -> number."""
        self.others: dict[int, int] = {}
        """Ports that pods don't name -> the ports of this machine that they are."""
        authority = certificates.issue(folder, "authority", None)
        server = certificates.issue(folder, "server", authority, "127.0.0.1")
        client = certificates.issue(folder, "client", authority)
        self.server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        """Of another server with this one's certificate, which asks for none."""
        self.server_tls.load_cert_chain(server.pem.certificate, server.pem.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server.pem.certificate, server.pem.key)
        context.load_verify_locations(authority.pem.certificate)
        context.verify_mode = ssl.CERT_REQUIRED
        self._tls = context
        self.kubeconfig = folder / "kubeconfig"
        self.cluster: dict[str, Any] = {
            "server": f"https://127.0.0.1:{self.server_port}",
            "certificate-authority": str(authority.pem.certificate),
        }
        self.user = {
            "client-certificate": str(client.pem.certificate),
            "client-key": str(client.pem.key),
        }
        self.write_kubeconfig()

    def write_kubeconfig(self) -> None:
        config = {
            "current-context": "here",
            "clusters": [{"name": "c", "cluster": self.cluster}],
            "users": [{"name": "u", "user": self.user}],
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        }
        self.kubeconfig.write_text(json.dumps(config))

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def get_request(self) -> tuple[Any, Any]:
        request, address = super().get_request()
        # The handshake takes place in the request's own thread, when it is read.
        return self._tls.wrap_socket(
            request, server_side=True, do_handshake_on_connect=False
        ), address

    def documents(self) -> list[Mapping[str, Any]]:
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        ports = [{"name": name, "containerPort": port} for name, port in self.ports.items()]
        shown = {name: {"status": ready} for name in self.pods} | self.unready
        return [
            {
                "metadata": {
                    "name": name,
                    "creationTimestamp": "2026-01-01T00:00:00Z",
                    **one.get("metadata", {}),
                },
                "spec": {"containers": [{"ports": ports}]},
                "status": one.get("status", ready),
            }
            for name, one in shown.items()
        ]


class _Handler(BaseHTTPRequestHandler):
    server: ForwardingApi

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.server.asked.append(url.path)
        if url.path == PODS:
            (label,) = parse_qs(url.query)["labelSelector"]
            assert label.startswith("app.kubernetes.io/name=")
            return self.answer(200, {"items": self.server.documents()})
        name = url.path.removeprefix(f"{PODS}/").removesuffix("/portforward")
        if self.server.forbids:
            return self.answer(403, {"message": "cannot get resource pods/portforward"})
        if self.headers["Accept"] != "*/*":
            return self.answer(406, {})
        if name not in self.server.pods:
            return self.answer(404, {"message": f'pods "{name}" not found'})
        (port,) = parse_qs(url.query)["ports"]
        other = self.server.others.get(int(port))
        assert other or int(port) in self.server.ports.values()
        assert self.headers["Upgrade"] == "websocket"
        self.forward(other or self.server.pods[name])

    def forward(self, port: int) -> None:
        """Do as the kubelet does."""
        self.close_connection = True
        numbers = b"".join(_frame(bytes([channel]) + struct.pack("<H", 8333)) for channel in (0, 1))
        # In one record of TLS with the answer's head, as it may come from the API.
        self.connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n" + numbers
        )
        try:
            pod = socket.create_connection(("127.0.0.1", port))
        except OSError as error:
            self.connection.sendall(_frame(b"\x01" + f"error forwarding port: {error}".encode()))
            self.connection.sendall(_frame(b"", websocket.CLOSE))
            return
        with pod:
            self.pass_on(pod)

    def pass_on(self, pod: socket.socket) -> None:
        while True:
            ready = [self.connection] if self.connection.pending() else []
            ready = ready or select.select([self.connection, pod], [], [])[0]
            if self.connection in ready:
                kind, content = self.read_frame()
                if kind == websocket.CLOSE:
                    return
                if kind == websocket.PING:
                    self.server.pings += 1
                    self.connection.sendall(_frame(content, websocket.PONG))
                elif kind == websocket.BINARY:
                    assert content[0] == 0
                    pod.sendall(content[1:])
            if pod in ready:
                if not (content := pod.recv(32768)):
                    self.connection.sendall(_frame(b"", websocket.CLOSE))
                    return
                self.connection.sendall(_frame(b"\x00" + content))

    def read_frame(self) -> tuple[int, bytes]:
        first, size = self.receive(2)
        assert size & 0x80, "a client has to mask"
        size &= 0x7F
        if size > 125:
            size = int.from_bytes(self.receive(2 if size == 126 else 8))
        mask = self.receive(4)
        content = self.receive(size)
        if any(mask):
            content = bytes(byte ^ mask[n % 4] for n, byte in enumerate(content))
        return first & 0x0F, content

    def receive(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            if not (more := self.connection.recv(size - len(found))):
                raise ConnectionResetError
            found += more
        return found

    def answer(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _frame(content: bytes, kind: int = websocket.BINARY) -> bytes:
    """A server's frame: like a client's, without the mask."""
    framed = websocket.frame(content, kind)
    start = len(framed) - len(content) - 4
    return bytes([framed[0], framed[1] & 0x7F]) + framed[2:start] + content
