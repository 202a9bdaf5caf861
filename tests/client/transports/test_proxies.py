"""Proxies of the environment: when they are asked, and what is said when they don't help."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from client import Client, ConnectionFailed, SettingsError, Tls
from client._transports.proxies import Proxy, proxy_for
from tests import recording_proxy
from tests.certificates import issue
from tests.recording_proxy import RecordingProxy
from tests.serving_fixtures import ModelServer

from ..conftest import port_of
from ..flaky import flaky_server

#: Of a documentation's network: nothing but the proxy of a test knows it.
HOST = "192.0.2.7"
NAME = "models.example.com"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordingProxy]:
    """A proxy that knows `HOST` alone, which is this machine."""
    with RecordingProxy(lambda host: host == HOST) as running:
        create = recording_proxy.socket.create_connection
        monkeypatch.setattr(
            recording_proxy.socket,
            "create_connection",
            lambda address, *rest: create(
                ("127.0.0.1" if address[0] == HOST else address[0], address[1]), *rest
            ),
        )
        yield running


def variable(transport: str, *, tls: bool = False) -> str:
    return "grpc_proxy" if transport == "grpc" else "https_proxy" if tls else "HTTP_PROXY"


def test_a_server_is_reached_by_way_of_the_proxy(
    mnist: ModelServer, proxy: RecordingProxy, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable(transport), proxy.url)
    port = port_of(mnist, transport)
    with Client(HOST, "mnist", port=port, transport=transport) as one:
        assert one.status().available
        assert one.metadata().version == 3
    assert proxy.hosts() == {HOST}
    with Client("127.0.0.1", "mnist", port=port, transport=transport) as direct:
        assert direct.status().available
    assert proxy.hosts() == {HOST}


def test_an_encrypted_server_is_reached_by_a_tunnel(
    proxy: RecordingProxy, transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = issue(tmp_path, "authority", None)
    pem = issue(tmp_path, "server", authority, HOST).pem
    url = proxy.url.replace("//", "//me:p%40ss@")
    monkeypatch.setenv(variable(transport, tls=True), url)
    with (
        flaky_server(transport, failures=0, pem=pem) as flaky,
        Client(
            HOST,
            "m",
            port=flaky.port,
            transport=transport,
            tls=Tls(ca=authority.pem.certificate),
            token="secret",
        ) as one,
    ):
        assert one.status().versions == ()
        assert flaky.tokens == ["Bearer secret"]
    (asked,) = proxy.asked
    assert asked.startswith(f"CONNECT {HOST}:{flaky.port} HTTP/1.")


def test_a_proxy_that_lets_nothing_through_is_named(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RecordingProxy() as refusing:
        monkeypatch.setenv(variable(transport), refusing.url.replace("//", "//me:secret@"))
        with (
            Client(HOST, "m", port=1, transport=transport, retries=0) as one,
            pytest.raises(ConnectionFailed) as caught,
        ):
            one.status()
    assert f"proxy 127.0.0.1:{refusing.port} ({variable(transport)})" in str(caught.value)
    assert f"no_proxy name {HOST}." in str(caught.value)
    assert "secret" not in str(caught.value)


NO = [
    ("models.example.com", True),
    ("example.com", True),
    (".example.com", True),
    ("*.example.com", True),
    ("a, Example.COM", True),
    ("*", True),
    ("models.example.com:8500", True),
    ("models.example.com:1", False),
    ("ple.com", False),
    ("models.example.com.org", False),
    ("", False),
]


@pytest.mark.parametrize(("no_proxy", "direct"), NO)
def test_no_proxy_names_hosts_and_what_is_below_them(no_proxy: str, direct: bool) -> None:
    environment = {"HTTP_PROXY": "http://p:1", "NO_PROXY": no_proxy}
    found = proxy_for(environment, "rest", NAME, 8500, tls=False)
    assert (found is None) is direct


@pytest.mark.parametrize(
    ("no_proxy", "host", "direct"),
    [
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3:8500", "10.1.2.3", True),
        ("fd00::/8", "fd00::1", True),
        ("[fd00::1]:8500", "fd00::1", True),
        ("[fd00::1]:1", "fd00::1", False),
        ("fd00::1", "fd00::1", True),
        ("", "127.9.9.9", True),
        ("", "::1", True),
        ("", "localhost", True),
    ],
)
def test_no_proxy_names_addresses_and_ranges(no_proxy: str, host: str, direct: bool) -> None:
    environment = {"http_proxy": "http://p:1", "no_proxy": no_proxy}
    assert (proxy_for(environment, "rest", host, 8500, tls=False) is None) is direct


def test_the_variable_is_the_one_for_the_transport() -> None:
    environment = {"http_proxy": "a:1", "HTTPS_PROXY": "http://[::1]:2", "all_proxy": "http://c"}

    def found(transport: str, *, tls: bool) -> str:
        return str(proxy_for(environment, transport, NAME, 1, tls=tls))

    assert found("rest", tls=False) == "a:1 (http_proxy)"
    assert found("rest", tls=True) == "[::1]:2 (HTTPS_PROXY)"
    assert found("grpc", tls=False) == found("grpc", tls=True) == "[::1]:2 (HTTPS_PROXY)"
    del environment["http_proxy"]
    assert found("rest", tls=False) == "c:80 (all_proxy)"


def test_a_user_goes_to_the_proxy_and_is_not_shown() -> None:
    proxy = Proxy("p", 1, "http_proxy", "me:p@ss")
    assert proxy.url() == "http://me:p%40ss@p:1"
    encoded = base64.b64encode(b"me:p@ss").decode()
    assert proxy.headers() == {"Proxy-Authorization": f"Basic {encoded}"}
    assert str(proxy) == "p:1 (http_proxy)"


@pytest.mark.parametrize("value", ["socks5://p:1", "https://p:1", "http://", "http://p:many"])
def test_what_is_no_http_proxy_is_said(value: str) -> None:
    with pytest.raises(SettingsError, match="http_proxy names no HTTP proxy"):
        proxy_for({"http_proxy": value}, "rest", NAME, 1, tls=False)
