"""The cluster's certificates, read back by the library that every Python TLS client uses."""

import contextlib
import json
import ssl
import stat
from pathlib import Path

import pytest

from local.console import LocalError
from local.kubernetes.pki import Authority


def test_a_server_certificate_names_its_addresses_and_chains_to_the_authority(tmp_path):
    authority = Authority(tmp_path)
    authority.create()
    certificate, key = authority.issue("server", "server", addresses=("10.77.0.1", "kubernetes"))
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.load_cert_chain(certificate, key)
    names = ssl._ssl._test_decode_cert(str(certificate))["subjectAltName"]
    assert set(names) == {("IP Address", "10.77.0.1"), ("DNS", "kubernetes")}


def test_a_client_that_holds_to_the_letter_of_the_standard_is_served(tmp_path):
    """As Python does since 3.13. Symptom: "kube-apiserver is not ready" there, for good."""
    authority = Authority(tmp_path)
    authority.create()
    server_side = ssl.create_default_context(
        ssl.Purpose.CLIENT_AUTH, cafile=str(authority.certificate)
    )
    server_side.load_cert_chain(*authority.issue("server", "server", addresses=("10.77.0.1",)))
    client_side = ssl.create_default_context(cafile=str(authority.certificate))
    client_side.load_cert_chain(*authority.issue("admin", "admin", "system:masters"))
    server_side.verify_mode = ssl.CERT_REQUIRED
    for context in (server_side, client_side):
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_side.wrap_bio(to_server, to_client, server_side=True)
    client = client_side.wrap_bio(to_client, to_server, server_hostname="10.77.0.1")
    for side in (client, server, client, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    assert client.version() == server.version() == "TLSv1.3"
    assert server.getpeercert()


def test_keys_are_for_their_owner_only_and_made_once(tmp_path):
    authority = Authority(tmp_path)
    authority.create()
    _, key = authority.issue("client", "someone", "some-group")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    authority.create()
    authority.issue("client", "someone", "some-group")
    assert key.read_bytes() == before


def test_a_kubeconfig_points_to_files_that_exist(tmp_path):
    authority = Authority(tmp_path)
    authority.create()
    content = json.loads(
        authority.kubeconfig(
            "admin", "admin", "system:masters", "https://10.77.0.1:6443"
        ).read_text()
    )
    user = content["users"][0]["user"]
    for path in (user["client-certificate"], user["client-key"]):
        assert Path(path).read_text().startswith("-----BEGIN")


def test_a_torn_certificate_or_key_is_issued_anew(tmp_path):
    authority = Authority(tmp_path)
    authority.create()
    for torn in authority.issue("client", "someone"):
        torn.write_bytes(torn.read_bytes()[:40])
        certificate, key = authority.issue("client", "someone")
        ssl.create_default_context().load_cert_chain(certificate, key)


@pytest.mark.parametrize("file", ["ca.crt", "ca.key", "service-account.key"])
def test_a_torn_authority_says_how_to_make_another(tmp_path, file):
    authority = Authority(tmp_path / "pki")
    authority.create()
    (tmp_path / "pki" / file).write_bytes(b"")
    with pytest.raises(LocalError, match=f"(?s){file} in .* damaged.*`make stop && rm -r .*pki"):
        authority.create()
