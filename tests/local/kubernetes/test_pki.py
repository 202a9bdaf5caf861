"""The cluster's certificates, read back by the library that every Python TLS client uses."""

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
    with pytest.raises(LocalError, match=f"(?s){file} in .* damaged.*`make stop && rm -r '.*pki'"):
        authority.create()
