"""How long small requests and health checks wait while one client sends large requests.

    .venv/bin/python benchmarks/stalls.py [--before COMMIT] [--rounds 3] [-- --enable_batching ...]

For each kind of large request, a process sends it again and again for some seconds. Beside it one
client sends rows of ten numbers over gRPC, one over REST, and one asks for the health. One asks a
bare process that sends back each byte: what that waits, the machine and this client have it wait,
not the server. Printed are the median, the 99th percentile and the longest of their times in all
rounds, in milliseconds.
`--before` also measures the server of another commit: each kind of request meets one server, then
the other, so that whatever else the machine does meets both.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
# Not this script's folder: there, `serving` would be a file.
sys.path[0] = str(ROOT)

from benchmarks.installing import checkout, frontend, native_of  # noqa: E402
from serving.engine.c_api import skip_tensorflow_import  # noqa: E402

skip_tensorflow_import()
from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: E402
from tensorflow_serving.apis import predict_pb2  # noqa: E402

from serving.wire import tensor_proto  # noqa: E402
from tests import serving_fixtures  # noqa: E402

SECONDS = 5.0
_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

_NUMBERS = itertools.count()

Ask = Callable[[], Any]


class Ports(NamedTuple):
    """Where a server is asked."""

    grpc_port: int
    rest_port: int


class Asker:
    """What a client needs to ask over both ports, on connections of its own."""

    def __init__(self, server: Ports) -> None:
        # Of one process, clients with equal arguments would share a connection.
        own = [*_UNLIMITED, ("dlstack.client", next(_NUMBERS))]
        channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", own)
        self._predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        self._health = health_pb2_grpc.HealthStub(channel)
        self._rest = http.client.HTTPConnection("127.0.0.1", server.rest_port)

    def grpc(self, signature: str, array: np.ndarray) -> Ask:
        """Return what sends an array to an echo; the answer stays serialised."""
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "kinds"
        request.model_spec.signature_name = signature
        tensor_proto.write(request.inputs["x"], array)
        data = request.SerializeToString()
        return lambda: self._predict(data, timeout=120)

    def rest(self, body: bytes) -> Ask:
        """Return what posts a body."""

        def ask() -> None:
            self._rest.request("POST", "/v1/models/kinds:predict", body)
            response = self._rest.getresponse()
            text = response.read()
            if response.status != 200:
                raise RuntimeError(f"{response.status}: {text[:200]!r}")

        return ask

    def health(self) -> Ask:
        """Return what asks for the health over gRPC."""
        return lambda: self._health.Check(health_pb2.HealthCheckRequest(), timeout=120)


def _json(rows: str, count: int, signature: str = "echo_float32") -> bytes:
    head = f'{{"signature_name": "{signature}", "instances": ['
    return (head + ",".join([rows] * count) + "]}").encode()


def large(asker: Asker) -> dict[str, Callable[[], Ask]]:
    """Return what makes each large request, by what it is."""
    random = np.random.default_rng(0)
    numbers = json.dumps([0.123456789] * 784)
    return {
        "nothing beside": lambda: lambda: time.sleep(0.1),
        "gRPC, 2 million int64": lambda: asker.grpc(
            "echo_int64", random.integers(-(2**62), 2**62, 2_000_000)
        ),
        "gRPC, [1, 512, 512, 21] float32": lambda: asker.grpc(
            "echo_float32", random.random((1, 512, 512, 21), np.float32)
        ),
        "gRPC, 100,000 strings": lambda: asker.grpc(
            "echo_string", np.array([b"a text of some letters"] * 100_000, object)
        ),
        "REST, 30 MB of rows": lambda: asker.rest(_json(numbers, 3000)),
        "REST, 12 MB of [0.5]": lambda: asker.rest(_json("[0.5]", 2_000_000)),
        "REST, [1, 512, 512, 21] float32": lambda: asker.rest(
            _json(json.dumps(random.random((512, 512, 21)).round(6).tolist()), 1)
        ),
        "REST, 100,000 objects": lambda: asker.rest(
            _json('{"a": [1.5, 2], "b": [0.5, 3]}', 100_000, "add")
        ),
        "REST, 200,000 texts": lambda: asker.rest(
            _json('"a text of some letters"', 200_000, "echo_string")
        ),
    }


def send(server: Ports, name: str) -> None:
    """Send a large request again and again; say so on stdout once the first was answered."""
    ask = large(Asker(server))[name]()
    while True:
        ask()
        print("answered", flush=True)


@contextmanager
def sending(server: Ports, name: str) -> Iterator[None]:
    """Have another process send: the Python of this one must not be busy with it."""
    command = [sys.executable, __file__, "--send", name]
    ports = [f"--ports={server.grpc_port},{server.rest_port}"]
    with subprocess.Popen([*command, *ports], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


_ECHO = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
connection, _ = listener.accept()
while data := connection.recv(1):
    connection.sendall(data)
"""


@contextmanager
def bare_echo() -> Iterator[Ask]:
    """Yield what asks a process that does nothing but answer."""
    with subprocess.Popen([sys.executable, "-c", _ECHO], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with socket.create_connection(("127.0.0.1", int(process.stdout.readline()))) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def ask() -> None:
                connection.sendall(b"x")
                connection.recv(1)

            yield ask


SMALL = ("gRPC", "REST", "health", "bare echo")

Times = dict[str, list[float]]
"""In seconds, by what was asked for."""


def measure(server: Ports, echo: Ask, times: Times) -> None:
    """Add the times of small requests."""
    one, two, three = Asker(server), Asker(server), Asker(server)
    small = {
        "gRPC": one.grpc("echo_float32", np.zeros(10, np.float32)),
        "REST": two.rest(_json("[0.5]", 10)),
        "health": three.health(),
        "bare echo": echo,
    }
    end = time.monotonic() + SECONDS

    def again_and_again(name: str, ask: Ask) -> None:
        ask()
        while time.monotonic() < end:
            started = time.perf_counter()
            ask()
            times[name].append(time.perf_counter() - started)
            time.sleep(0.005)

    threads = [threading.Thread(target=again_and_again, args=item) for item in small.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def row(name: str, times: Times) -> str:
    """Return a line of the table."""
    line = f"{name:42}"
    for found in times.values():
        median, p99 = statistics.median(found), statistics.quantiles(found, n=100)[-1]
        cell = f"{median * 1e3:.1f} / {p99 * 1e3:.0f} / {max(found) * 1e3:.0f}"
        line += f"{cell:>20}"
    return line


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", metavar="COMMIT", help="also measure the server of this commit")
    parser.add_argument("--rounds", type=int, default=1, help="default: 1")
    parser.add_argument("--only", metavar="TEXT", default="", help="requests with it in their name")
    parser.add_argument("--send", help="used by this program itself")
    parser.add_argument("--ports", help="used by this program itself")
    parser.add_argument("flags", nargs="*", help="of the server, after --")
    given = parser.parse_args()
    if given.send:
        send(Ports(*map(int, given.ports.split(","))), given.send)
    native = ["--front_end=native", f"--front_end_program={frontend()}"]
    servers = {"now": (ROOT, [*native, *given.flags])}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        if given.before:
            before = Path(folder) / "before"
            checkout(given.before, before)
            servers["before"] = before, [*native_of(before), *given.flags]
        base = Path(folder) / "kinds"
        serving_fixtures.export_models(("kinds", base / "1", ""))
        ports = {}
        for name, (root, flags) in servers.items():
            serving_fixtures.ROOT = root
            server = stack.enter_context(serving_fixtures.running_server(base, "kinds", flags))
            ports[name] = Ports(server.grpc_port, server.rest_port)
        print(f"{'median / p99 / longest, ms':42}" + "".join(f"{name:>20}" for name in SMALL))
        kinds = [name for name in large(Asker(ports["now"])) if given.only in name]
        for kind in kinds:
            found: dict[str, Times] = {name: {small: [] for small in SMALL} for name in servers}
            for _ in range(given.rounds):
                for name in servers:
                    with sending(ports[name], kind), bare_echo() as echo:
                        measure(ports[name], echo, found[name])
            for name in servers:
                print(row(f"{kind}, {name}" if given.before else kind, found[name]), flush=True)


if __name__ == "__main__":
    main()
