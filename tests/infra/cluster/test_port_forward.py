"""Ports of this machine that lead to pods, by way of a server in place of the cluster's API.

The object store behind it is a real one. tests/cluster/ has the API itself.
"""

import os
import selectors
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from infra.cluster import port_forward, websocket
from infra.cluster.port_forward import PortForward
from store import buckets
from store.client import Client, connect
from store.errors import Unreachable
from tests.infra.cluster.forwarding_api import NAMESPACE, PODS, ForwardingApi
from tests.infra.conftest import ANY_CLUSTER
from tests.open_files import no_other_file
from tests.ports import held_port
from tests.recording_proxy import RecordingProxy
from tests.seaweedfs import SeaweedFS
from tests.waiting import eventually


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ForwardingApi]:
    with ForwardingApi(tmp_path) as api:
        monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig))
        yield api


@pytest.fixture
def forward(api: ForwardingApi) -> Iterator[PortForward]:
    one = PortForward(ANY_CLUSTER, NAMESPACE, "object-store", "s3")
    yield one
    one.close()


@pytest.fixture
def client(forward: PortForward, object_store: SeaweedFS) -> Iterator[Client]:
    yield connect(
        object_store.access(endpoint=f"http://127.0.0.1:{forward.port}"),
        direct=True,
        called="http://object-store.stack.svc:8333",
        why=forward.problem,
    )
    connect.cache_clear()


@pytest.fixture
def pod(api: ForwardingApi, object_store: SeaweedFS) -> int:
    """The port that the only Ready pod is."""
    port = int(object_store.endpoint.rpartition(":")[2])
    api.pods["store-1"] = port
    return port


def test_all_that_goes_through_arrives_in_both_directions_at_once(
    api: ForwardingApi, client: Client, pod: int
) -> None:
    buckets.create(client, "forwarded")
    contents = [os.urandom(size) for size in (0, 1, 125, 65536, 3_000_000, 7_654_321)]

    def there_and_back(number: int) -> bytes:
        client.s3.put_object(Bucket="forwarded", Key=str(number), Body=contents[number])
        return client.s3.get_object(Bucket="forwarded", Key=str(number))["Body"].read()

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(there_and_back, range(6))) == contents
    # The pod is looked for once, or by as many as came before it was known.
    assert 1 <= api.asked.count(PODS) <= 6
    for number in range(6):
        client.s3.delete_object(Bucket="forwarded", Key=str(number))
    buckets.delete(client, "forwarded")


def test_it_takes_the_way_of_all_requests_through_the_proxy_of_the_kubeconfig(
    api: ForwardingApi, client: Client, pod: int
) -> None:
    with RecordingProxy(may=lambda host: host == "127.0.0.1") as proxy:
        api.cluster["proxy-url"] = proxy.url
        api.write_kubeconfig()
        buckets.wait_until_it_answers(client, 0)
        assert len(proxy.asked) == 2
        assert all(line.startswith("CONNECT 127.0.0.1:") for line in proxy.asked)


class TlsProxy(RecordingProxy):
    """A proxy that is itself reached by TLS."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        super().__init__(may=lambda host: host == "127.0.0.1")
        self._tls = tls

    def _accept(self) -> None:
        self._listener = self._tls.wrap_socket(self._listener, server_side=True)
        super()._accept()


def test_a_proxy_may_be_reached_by_tls_itself(api: ForwardingApi, client: Client, pod: int) -> None:
    with TlsProxy(api.server_tls) as proxy:
        api.cluster["proxy-url"] = proxy.url.replace("http:", "https:")
        api.write_kubeconfig()
        buckets.create(client, "in-tls")
        body = os.urandom(300_000)
        client.s3.put_object(Bucket="in-tls", Key="a", Body=body)
        assert client.s3.get_object(Bucket="in-tls", Key="a")["Body"].read() == body
        client.s3.delete_object(Bucket="in-tls", Key="a")
        buckets.delete(client, "in-tls")
        assert proxy.asked


def test_a_pod_that_is_gone_is_followed_by_the_next(
    api: ForwardingApi, client: Client, pod: int
) -> None:
    buckets.wait_until_it_answers(client, 0)
    del api.pods["store-1"]
    client.s3.close()
    api.pods["store-2"] = pod
    buckets.wait_until_it_answers(client, 0)
    assert api.asked[-1] == f"{PODS}/store-2/portforward"


def test_a_process_with_all_of_its_files_open_goes_on_when_it_has_some_again(
    forward: PortForward, client: Client, pod: int
) -> None:
    """Symptom otherwise: the next connection is taken by nobody, and its end waits for ever."""
    with socket.socket() as waiting, no_other_file():
        waiting.connect(("127.0.0.1", forward.port))
        eventually(lambda: "Too many open files" in forward.problem())
    buckets.wait_until_it_answers(client, 0)


def test_no_pod_that_is_ready_is_told(api: ForwardingApi, client: Client) -> None:
    api.unready = {
        "starting": {"status": {"conditions": [{"type": "Ready", "status": "False"}]}},
        "pending": {"status": {}},
        "ending": {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}},
    }
    with pytest.raises(
        Unreachable,
        match=r"store at 'http://object-store.stack.svc:8333' can't be reached \(no pod of it is "
        r"Ready in the namespace 'stack'\). It is the stack's own",
    ):
        buckets.wait_until_it_answers(client, 0)


def test_a_user_who_may_not_is_told_the_right_that_lacks(
    api: ForwardingApi, client: Client, pod: int
) -> None:
    api.forbids = True
    with pytest.raises(
        Unreachable, match=r"403 .*cannot get resource.*the rights of docs/clusters.md"
    ):
        buckets.wait_until_it_answers(client, 0)


@pytest.fixture
def deaf_pod(api: ForwardingApi) -> Iterator[None]:
    """A pod whose port refuses connections."""
    with held_port("127.0.0.1") as port:
        api.pods["store-1"] = port
        yield


def test_a_pod_that_listens_no_more_is_told(
    api: ForwardingApi, client: Client, deaf_pod: None
) -> None:
    with pytest.raises(Unreachable, match=r"error forwarding port: .*refused"):
        buckets.wait_until_it_answers(client, 0)


def test_a_pod_that_is_there_and_of_no_use_is_followed_by_the_next(
    api: ForwardingApi, client: Client, object_store: SeaweedFS, deaf_pod: None
) -> None:
    """Symptom otherwise: after an eviction no connection of the process finds the new pod."""
    with pytest.raises(Unreachable):
        buckets.wait_until_it_answers(client, 0)
    api.unready["store-1"] = {"status": {"phase": "Failed"}}
    api.pods["store-2"] = int(object_store.endpoint.rpartition(":")[2])
    buckets.wait_until_it_answers(client, 0)


def test_a_process_has_one_way_to_each_port(api: ForwardingApi) -> None:
    ways = [
        port_forward.to(ANY_CLUSTER, NAMESPACE, component, port)
        for component, port in (("a", "s3"), ("a", "s3"), ("b", "s3"), ("a", "http"))
    ]
    assert ways[0] is ways[1]
    assert len({way.port for way in ways}) == 3


class Impatient(selectors.DefaultSelector):
    """Says four times at once that nothing came in time, and each time waits for the answer then.

    So quiet times pass as quickly as they are answered, however busy the machine is.
    """

    _left, _waits = 4, True

    def select(self, timeout: float | None = None) -> list[Any]:
        found = super().select(0)
        self._waits = bool(found) or timeout is None or not (self._waits and self._left)
        if self._waits:
            return found or super().select(timeout)
        self._left -= 1
        return []


def test_a_connection_that_is_quiet_is_kept(
    api: ForwardingApi, forward: PortForward, pod: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = SimpleNamespace(DefaultSelector=Impatient, EVENT_READ=selectors.EVENT_READ)
    monkeypatch.setattr(port_forward, "selectors", impatient)
    with socket.create_connection(("127.0.0.1", forward.port), 60) as connection:
        eventually(lambda: api.pings == 4)
        connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.0 200"


class TestMessages:
    def frame(self, first: int, content: bytes) -> bytes:
        return bytes([first, len(content)]) + content

    def test_arrive_in_pieces(self) -> None:
        framed = self.frame(0x82, b"whole") + self.frame(0x82, b"next")
        messages = websocket.Messages()
        found = [one for byte in framed for one in messages.read(bytes([byte]))]
        assert found == [(websocket.BINARY, b"whole"), (websocket.BINARY, b"next")]

    def test_may_be_of_several_frames_with_a_ping_in_between(self) -> None:
        framed = [
            self.frame(0x02, b"be"),
            self.frame(0x89, b"?"),
            self.frame(0x00, b"gi"),
            self.frame(0x80, b"n"),
        ]
        found = list(websocket.Messages().read(b"".join(framed)))
        assert found == [(websocket.PING, b"?"), (websocket.BINARY, b"begin")]

    def test_end(self) -> None:
        assert list(websocket.Messages().read(b"")) == [(websocket.CLOSE, b"")]
