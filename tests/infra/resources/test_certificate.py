"""Generated certificates, judged by another TLS implementation than the one that makes them."""

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.resources import certificate

HOSTS = ["203.0.113.7", "models.example.com", "localhost", "127.0.0.1"]
NOW = datetime.now(UTC)


def shake_hands(folder: Path, made: dict[str, str], host: str, authority: str) -> None:
    """Let Python's ssl, which is OpenSSL, check the certificate for `host`."""
    (folder / "tls.crt").write_text(made["certificate"])
    (folder / "tls.key").write_text(made["key"])
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    client = ssl.create_default_context(cadata=authority)
    here, there = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(there, server_side=True).close()
        except OSError:
            there.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        client.wrap_socket(here, server_hostname=host).close()
    finally:
        here.close()
        thread.join()
        there.close()


@pytest.mark.parametrize("host", HOSTS)
def test_it_is_for_each_of_its_hosts(tmp_path: Path, host: str) -> None:
    made = certificate.issue(HOSTS, NOW)
    shake_hands(tmp_path, made, host, made["authority"])


def test_it_is_for_no_other_host_and_of_no_other_authority(tmp_path: Path) -> None:
    made, other = certificate.issue(HOSTS, NOW), certificate.issue(HOSTS, NOW)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(tmp_path, made, "elsewhere.example.com", made["authority"])
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(tmp_path, made, HOSTS[0], other["authority"])


def test_a_new_one_is_of_the_same_authority_so_that_clients_go_on(tmp_path: Path) -> None:
    provider = certificate._CertificateProvider()
    old = provider.create({"hosts": ["a.example.com"]}).outs or {}
    new = provider.update("id", old, {"hosts": ["b.example.com"]}).outs or {}
    assert new["authority"] == old["authority"]
    assert new["key"] != old["key"]
    shake_hands(tmp_path, new, "b.example.com", old["authority"])


@pytest.mark.parametrize(
    ("age_days", "hosts", "changes"),
    [(0, HOSTS, False), (549, HOSTS, False), (551, HOSTS, True), (0, ["other"], True)],
)
def test_it_is_made_anew_for_other_hosts_and_in_its_last_third(
    age_days: int, hosts: list[str], changes: bool
) -> None:
    olds: dict[str, Any] = {"hosts": HOSTS}
    olds |= certificate.issue(HOSTS, datetime.now(UTC) - timedelta(days=age_days))
    found = certificate._CertificateProvider().diff("id", olds, {"hosts": hosts})
    assert found.changes is changes
