"""TLS and tokens over both transports, by the real TLS stacks of gRPC and Python.

The servers are those of flaky.py, which do not fail here: the model server itself has no TLS.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from client import AsyncClient, Client, ConnectionFailed, DeadlineExceeded, SettingsError, Tls
from client._command import cli
from tests.certificates import Pem, issue

from ..flaky import flaky_server


class Pki(NamedTuple):
    authority: Pem
    server: Pem
    client: Pem
    elsewhere: Pem
    """A server's, for another address."""
    stranger: Pem
    """Another authority."""


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder = tmp_path_factory.mktemp("pki")
    authority = issue(folder, "authority", None)
    return Pki(
        authority.pem,
        issue(folder, "server", authority, "127.0.0.1").pem,
        issue(folder, "client", authority).pem,
        issue(folder, "elsewhere", authority, "10.9.8.7").pem,
        issue(folder, "stranger", None).pem,
    )


def client(transport: str, port: int, **settings: Any) -> Client:
    return Client("127.0.0.1", "m", port=port, transport=transport, **settings)


def failure(call: Callable[[], object]) -> str:
    with pytest.raises(ConnectionFailed) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_authority_is_enough(transport: str, pki: Pki) -> None:
    tls = Tls(ca=pki.authority.certificate)
    with (
        flaky_server(transport, 0, pem=pki.server) as server,
        client(transport, server.port, tls=tls, token="s3cret") as one,
    ):
        assert one.status().versions == one.status().versions == ()
    assert server.tokens == ["Bearer s3cret"] * 2


def test_an_authority_may_be_given_as_its_text(transport: str, pki: Pki) -> None:
    tls = Tls(ca=pki.authority.certificate.read_text())
    with (
        flaky_server(transport, 0, pem=pki.server) as server,
        client(transport, server.port, tls=tls) as one,
    ):
        assert one.status().versions == ()
    with pytest.raises(SettingsError, match="TLS files do not fit"):
        Tls(ca="-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----").context()


def test_without_a_token_there_is_no_such_header(transport: str, pki: Pki) -> None:
    tls = Tls(ca=pki.authority.certificate)
    with (
        flaky_server(transport, 0, pem=pki.server) as server,
        client(transport, server.port, tls=tls) as one,
    ):
        one.status()
    assert server.tokens == [None]


def test_a_server_may_ask_for_a_clients_certificate(transport: str, pki: Pki) -> None:
    ca = pki.authority.certificate
    tls = Tls(ca, pki.client.certificate, pki.client.key)
    with flaky_server(transport, 0, pem=pki.server, client_ca=ca) as server:
        with client(transport, server.port, tls=tls) as one:
            assert one.status().versions == ()
        with client(transport, server.port, tls=Tls(ca)) as one:
            said = failure(one.status)
    assert f"No TLS connection to {one.address} (" in said
    assert "whether it asks for a client's certificate" in said
    assert server.requests == ["status"]


def test_the_server_is_checked_before_the_token_is_sent(transport: str, pki: Pki) -> None:
    with flaky_server(transport, 0, pem=pki.server) as server:
        for tls in (Tls(pki.stranger.certificate), Tls()):
            with client(transport, server.port, tls=tls, token="s3cret") as one:
                assert "unable to get local issuer certificate" in failure(one.status)
    assert server.requests == []


def test_a_certificate_of_another_host_is_refused(transport: str, pki: Pki) -> None:
    with (
        flaky_server(transport, 0, pem=pki.elsewhere) as server,
        client(transport, server.port, tls=Tls(pki.authority.certificate)) as one,
    ):
        assert "not valid for '127.0.0.1'" in failure(one.status)


def test_a_certificate_that_has_expired_is_refused_and_said_to_have(
    transport: str, pki: Pki, tmp_path: Path
) -> None:
    authority = issue(tmp_path, "authority", None)
    late = issue(tmp_path, "late", authority, "127.0.0.1", expired=True)
    with (
        flaky_server(transport, 0, pem=late.pem) as server,
        client(transport, server.port, tls=Tls(authority.pem.certificate), token="s") as one,
    ):
        assert "certificate has expired" in failure(one.status)
    assert server.requests == []


def test_a_server_without_tls_is_recognised(transport: str, pki: Pki) -> None:
    with (
        flaky_server(transport, 0) as server,
        client(transport, server.port, tls=Tls(pki.authority.certificate)) as one,
    ):
        assert "without TLS. Leave out TLS" in failure(one.status)


def test_a_client_without_tls_is_told(transport: str, pki: Pki) -> None:
    with (
        flaky_server(transport, 0, pem=pki.server) as server,
        client(transport, server.port) as one,
    ):
        assert "asks for TLS" in failure(one.status)


def test_the_other_transports_port_is_recognised_inside_tls(transport: str, pki: Pki) -> None:
    other = "rest" if transport == "grpc" else "grpc"
    with (
        flaky_server(other, 0, pem=pki.server) as server,
        client(transport, server.port, tls=Tls(pki.authority.certificate)) as one,
    ):
        assert f"Use the transport `{other}`" in failure(one.status)


def test_an_unavailable_server_is_asked_again_over_tls(transport: str, pki: Pki) -> None:
    """What listens is found out inside TLS: asked without, the port would look like no server."""
    with (
        flaky_server(transport, 2, pem=pki.server) as server,
        client(transport, server.port, tls=Tls(pki.authority.certificate)) as one,
    ):
        assert one.status().versions == ()
    assert len(server.requests) == 3


def test_a_port_that_says_nothing_is_a_deadline(transport: str, pki: Pki) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        tls = Tls(pki.authority.certificate)
        with (
            client(transport, port, tls=tls, timeout=0.3) as one,
            pytest.raises(DeadlineExceeded),
        ):
            one.status()


def test_the_asyncio_client_has_the_same(pki: Pki) -> None:
    async def main(port: int) -> None:
        tls = Tls(pki.authority.certificate)
        async with AsyncClient("127.0.0.1", "m", port=port, tls=tls, token="s3cret") as one:
            await one.status()

    with flaky_server("grpc", 0, pem=pki.server) as server:
        asyncio.run(main(server.port))
    assert server.tokens == ["Bearer s3cret"]


def test_the_command_takes_it_from_flags_and_environment(
    transport: str,
    pki: Pki,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    monkeypatch.setenv("DLSTACK_CLIENT_KEY", str(pki.client.key))
    ca = pki.authority.certificate
    with flaky_server(transport, 0, pem=pki.server, client_ca=ca) as server:
        flags = [
            "--host=127.0.0.1",
            "--model=m",
            f"--transport={transport}",
            f"--port={server.port}",
            f"--ca={ca}",
            f"--client-cert={pki.client.certificate}",
            f"--token-file={tmp_path / 'token'}",
            "--verbose",
        ]
        assert cli.main(["status", *flags]) == 0
    assert server.tokens == ["Bearer s3cret"]
    assert "s3cret" not in capsys.readouterr().err


@pytest.mark.parametrize("token", ["", "a\nb", "ä"])
def test_tokens_that_make_no_sense_are_refused(transport: str, token: str) -> None:
    with pytest.raises(SettingsError, match="token is empty or has odd characters"):
        client(transport, 1, tls=Tls(), token=token)


def test_settings_that_make_no_sense_are_refused(transport: str, pki: Pki, tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match="Without TLS everybody on the way could read the token"
    ):
        client(transport, 1, token="s3cret")
    with pytest.raises(
        SettingsError, match="^Only one of the client's certificate and its key is given"
    ):
        client(transport, 1, tls=Tls(client_cert=pki.client.certificate))
    with pytest.raises(SettingsError, match="There is no TLS file 'missing.pem'"):
        client(transport, 1, tls=Tls(ca="missing.pem"))
    with pytest.raises(SettingsError, match="The TLS files do not fit"):
        client(transport, 1, tls=Tls(None, pki.client.certificate, pki.server.key))
    (tmp_path / "none.pem").write_text("no certificate")
    with pytest.raises(SettingsError, match="The TLS files do not fit"):
        client(transport, 1, tls=Tls(ca=tmp_path / "none.pem"))
