"""The process `node-ports` against a small API server: what it opens, closes and carries.

The node is 127.0.0.2 here, and the process listens at 127.0.0.1. That Kubernetes serves the node's
side is for the tests on a real cluster.
"""

import contextlib
import json
import shutil
import socket
import ssl
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Network
from urllib.parse import parse_qs, urlsplit

import pytest

from local.build.programs import NODE_PORTS, Programs
from local.home import Home
from local.kubernetes import node_ports
from local.kubernetes.node_ports import NodePort
from local.kubernetes.pki import Authority
from tests.ports import held_port
from tests.waiting import eventually

NODE = "127.0.0.2"
BALANCERS = IPv4Network("10.64.0.0/30")
SECONDS = 60


class ApiServer:
    """Lists Services and tells those who watch of changes. It can be stopped and started again.

    As with the real one, a watch begins where a list ended, whatever came between the two.
    """

    def __init__(self, authority: Authority, port: int) -> None:
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(*authority.issue("server", "server", addresses=["127.0.0.1"]))
        self._tls.load_verify_locations(authority.certificate)
        self._tls.verify_mode = ssl.CERT_REQUIRED
        self.services: dict[str, dict] = {}
        self.refuses_changes = False
        self._events: list[dict] = []
        """All so far: as many as there were is the version of what is listed."""
        self._changed = threading.Condition()
        self._stops = 0
        self._port = port
        self.url = f"https://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        api, stops = self, self._stops

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                if api._stops != stops:
                    # By a connection that was kept: it ends with the server.
                    self.close_connection = True
                    return
                query = parse_qs(urlsplit(self.path).query)
                if "watch" in query:
                    api._watch(self, int(query["resourceVersion"][0]), stops)
                    return
                with api._changed:
                    version, items = str(len(api._events)), list(api.services.values())
                    listed = {"metadata": {"resourceVersion": version}, "items": items}
                    body = json.dumps(listed).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_PATCH(self):
                name = urlsplit(self.path).path.removesuffix("/status").rpartition("/")[2]
                change = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(500 if api.refuses_changes else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()
                if not api.refuses_changes:
                    with api._changed:
                        api.services[name]["status"] = change["status"]
                        api._tell("MODIFIED", api.services[name])

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                """A client that was killed is no news."""

        self._server = Server(("127.0.0.1", self._port), Handler)
        self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        with self._changed:
            self._stops += 1
            self._changed.notify_all()

    def put(self, name: str, *ports: int, protocol: str = "TCP", **spec: object) -> None:
        with self._changed:
            kind = "MODIFIED" if name in self.services else "ADDED"
            self._tell(kind, self.put_untold(name, *ports, protocol=protocol, **spec))

    def put_untold(
        self, name: str, *ports: int, protocol: str = "TCP", **spec: object
    ) -> dict[str, object]:
        """Have a Service of which only the next list tells."""
        self.services[name] = {
            "metadata": {"name": name, "namespace": "team", "uid": name, "resourceVersion": "2"},
            "spec": {
                "ports": [{"nodePort": port, "protocol": protocol} for port in ports],
                **spec,
            },
        }
        return self.services[name]

    def delete(self, name: str) -> None:
        with self._changed:
            self._tell("DELETED", self.services.pop(name))

    def forget_history(self) -> None:
        """End the watches as the API server does when it can't go on from where they are."""
        with self._changed:
            self._tell("ERROR", {"kind": "Status", "code": 410})

    def _tell(self, kind: str, service: dict) -> None:
        # As it is now: the Service may change before it is sent.
        self._events.append(json.loads(json.dumps({"type": kind, "object": service})))
        self._changed.notify_all()

    def _watch(self, handler: BaseHTTPRequestHandler, version: int, stops: int) -> None:
        """Send what came after `version`, until the server is stopped."""
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.flush()
        while True:
            with self._changed:
                while len(self._events) <= version and self._stops == stops:
                    self._changed.wait()
                if self._stops != stops:
                    break
                event = self._events[version]
            version += 1
            handler.wfile.write(json.dumps(event).encode() + b"\n")
            handler.wfile.flush()
        handler.close_connection = True


@contextlib.contextmanager
def on_the_node(port: int, serve):
    """What listens at the node: `serve` is given each connection."""
    listener = socket.create_server((NODE, port))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield
    finally:
        listener.close()


def echo_all(connection: socket.socket) -> None:
    """Answer with what came when the sender has ended, not before."""
    with connection:
        received = b"".join(iter(lambda: connection.recv(65536), b""))
        connection.sendall(received)


def refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.fixture(scope="module")
def program():
    programs = Programs(Home.from_environment())
    if not programs.path(NODE_PORTS).exists() and shutil.which("go") is None:
        pytest.skip("it is not built, and there is no Go")
    return programs.build(NODE_PORTS)


@pytest.fixture
def free_port():
    """Gives ports that are free at all of some addresses, and that nobody else takes meanwhile."""
    with contextlib.ExitStack() as stack:
        yield lambda *addresses: stack.enter_context(held_port(*addresses))


@pytest.fixture
def api(tmp_path, free_port):
    authority = Authority(tmp_path / "pki")
    authority.create()
    server = ApiServer(authority, free_port("127.0.0.1"))
    authority.kubeconfig(node_ports.NAME, node_ports.USER, None, server.url)
    yield server
    server.stop()


@pytest.fixture
def start(program, tmp_path, api):
    """Starts the process with the ports that the API server knows by then."""
    daemon = node_ports.daemon(tmp_path, program, NODE, BALANCERS)

    def start():
        daemon.start()
        eventually(lambda: node_ports.knows(tmp_path))
        return daemon

    yield start
    daemon.stop()


def test_a_connection_is_carried_to_the_node_and_back_with_its_ends(api, start, free_port):
    port = free_port("127.0.0.1", NODE)
    api.put("echo", port)
    start()
    content = bytes(range(256)) * 40_000
    with (
        on_the_node(port, echo_all),
        socket.create_connection(("127.0.0.1", port), SECONDS) as client,
    ):
        client.sendall(content)
        client.shutdown(socket.SHUT_WR)
        assert b"".join(iter(lambda: client.recv(65536), b"")) == content


def test_both_directions_flow_while_both_are_open(api, start, free_port):
    """As the streams of gRPC do."""
    port = free_port("127.0.0.1", NODE)
    api.put("echo", port)
    start()

    def answer_each(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while received := connection.recv(100):
                connection.sendall(received.upper())

    with (
        on_the_node(port, answer_each),
        socket.create_connection(("127.0.0.1", port), SECONDS) as client,
    ):
        for word in (b"one", b"two", b"three"):
            client.sendall(word)
            assert client.recv(100) == word.upper()


def test_a_reset_at_the_node_is_one_for_the_client(api, start, free_port):
    port = free_port("127.0.0.1", NODE)
    api.put("broken", port)
    start()

    def break_off(connection: socket.socket) -> None:
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    with (
        on_the_node(port, break_off),
        socket.create_connection(("127.0.0.1", port), SECONDS) as client,
    ):
        client.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_a_service_without_a_pod_ends_connections(api, start, free_port):
    port = free_port("127.0.0.1", NODE)
    api.put("nobody", port)
    start()
    with (
        pytest.raises(ConnectionResetError),
        socket.create_connection(("127.0.0.1", port), SECONDS) as client,
    ):
        client.recv(1)


def test_ports_open_and_close_with_their_services(api, start, free_port):
    first, second, third = (free_port("127.0.0.1", NODE) for _ in range(3))
    api.put("one", first)
    start()
    assert not refuses(first)
    api.put("two", second)
    api.put("datagrams", third, protocol="UDP")
    eventually(lambda: not refuses(second))
    api.put("one", third)
    eventually(lambda: refuses(first) and not refuses(third))
    api.delete("two")
    eventually(lambda: refuses(second))


def test_ports_stay_while_the_api_server_is_away_and_are_right_afterwards(
    api, start, tmp_path, free_port
):
    kept, gone, new = (free_port("127.0.0.1", NODE) for _ in range(3))
    api.put("kept", kept)
    api.put("gone", gone)
    daemon = start()
    api.stop()
    eventually(lambda: "connection refused" in daemon.log.read_text())
    assert not refuses(kept)
    del api.services["gone"]
    api.put_untold("new", new)
    api.start()
    eventually(lambda: refuses(gone) and not refuses(new))
    assert not refuses(kept)
    assert "answers again" in daemon.log.read_text()


def test_a_watch_that_can_not_go_on_begins_anew(api, start, free_port):
    missed = free_port("127.0.0.1", NODE)
    start()
    api.put_untold("missed", missed)
    api.forget_history()
    eventually(lambda: not refuses(missed))


def test_a_port_of_another_program_is_told_and_opened_when_it_ends(api, start, tmp_path, free_port):
    port = free_port("127.0.0.1", NODE)
    api.put("digits", port)
    with socket.create_server(("127.0.0.1", port)):
        daemon = start()
        taken = NodePort("127.0.0.1", port, "team/digits", "another program of this machine has it")
        assert node_ports.read(tmp_path) == [taken]
        assert f"can't open 127.0.0.1:{port} for team/digits" in daemon.log.read_text()
        (line,) = node_ports.problems(tmp_path)
        assert f"127.0.0.1:{port} does not lead to the Service team/digits" in line
        assert f"ss -ltnp 'sport = :{port}'" in line
    eventually(lambda: not node_ports.problems(tmp_path))
    assert node_ports.read(tmp_path) == [NodePort("127.0.0.1", port, "team/digits", "")]


def test_an_address_that_is_not_this_machine_s_is_told(tmp_path):
    entry = {"address": "192.0.2.7", "port": 1, "service": "a/b", "problem": "can't assign it"}
    (tmp_path / "node-ports.json").write_text(json.dumps([entry]))
    (line,) = node_ports.problems(tmp_path)
    assert "can't assign it. It is tried again every second; DLSTACK_ADDRESS says" in line
    assert "ss -ltnp" not in line


def test_all_addresses_of_ipv4_are_not_those_of_ipv6(
    api, program, tmp_path, monkeypatch, free_port
):
    monkeypatch.setenv("DLSTACK_ADDRESS", "0.0.0.0")
    port = free_port("0.0.0.0")
    api.put("digits", port)
    daemon = node_ports.daemon(tmp_path, program, NODE, BALANCERS)
    daemon.start()
    try:
        eventually(lambda: node_ports.knows(tmp_path))
        assert not refuses(port)
        with socket.socket(socket.AF_INET6) as probe:
            assert probe.connect_ex(("::1", port)) != 0
    finally:
        daemon.stop()


def balancer(api: ApiServer, name: str) -> str:
    """The address that a Service has; empty if it has none."""
    status = api.services[name].get("status", {"loadBalancer": {"ingress": [{"ip": ""}]}})
    (ingress,) = status["loadBalancer"]["ingress"]
    return ingress["ip"]


def test_each_service_of_type_loadbalancer_gets_an_address_and_keeps_it(api, start):
    for name in ("before", "former"):
        api.put(name, type="LoadBalancer")
    api.put("ports", type="NodePort")
    api.put("others", type="LoadBalancer", loadBalancerClass="example.com/metal")
    daemon = start()
    eventually(lambda: balancer(api, "before") and balancer(api, "former"))
    addresses = [balancer(api, name) for name in ("before", "former")]
    assert sorted(addresses) == ["10.64.0.1", "10.64.0.2"]
    api.put("third", type="LoadBalancer")
    eventually(lambda: balancer(api, "third") == "10.64.0.3")
    # One that is deleted makes room; another start takes nothing away.
    freed = balancer(api, "former")
    api.delete("former")
    daemon.stop()
    start()
    api.put("after", type="LoadBalancer")
    eventually(lambda: balancer(api, "after") == freed)
    assert balancer(api, "third") == "10.64.0.3"
    assert not balancer(api, "ports") and not balancer(api, "others")


def test_an_address_that_the_api_server_refuses_is_given_later(api, start):
    api.refuses_changes = True
    api.put("one", 0, type="LoadBalancer")
    daemon = start()
    eventually(lambda: "services/one/status: 500" in daemon.log.read_text())
    api.refuses_changes = False
    eventually(lambda: balancer(api, "one") == "10.64.0.1")
