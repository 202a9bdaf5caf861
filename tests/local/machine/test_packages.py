"""The packages of a node. That apt installs them is for the tests on a real cluster."""

import os
import subprocess
import sys

import pytest

from local.console import LocalError
from local.home import REPOSITORY
from local.machine import packages


def test_without_apt_the_missing_packages_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.which", lambda program: None)
    with pytest.raises(LocalError, match="no apt-get: containerd runc .*KUBECONFIG"):
        packages.install(tmp_path / "log")


def test_without_cni_plugins_their_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(packages, "CNI_FOLDERS", (tmp_path,))
    with pytest.raises(
        LocalError, match=f"are not in {tmp_path}.*{packages.CNI_PACKAGE}.*KUBECONFIG"
    ):
        packages.cni_plugins()
    (tmp_path / "bridge").touch()
    assert packages.cni_plugins() == tmp_path


def allows_services(policy, **variables):
    return subprocess.run([policy], env={**os.environ, **variables}).returncode == 0


def test_only_services_of_our_own_installation_are_kept_from_starting(tmp_path):
    policy = tmp_path / "policy-rc.d"
    with packages._no_services(policy):
        assert not allows_services(policy, **packages._environment())
        assert allows_services(policy), "Of an installation that runs beside ours."
    assert not policy.exists()


def test_an_installation_that_was_killed_keeps_no_service_from_starting(tmp_path):
    policy = tmp_path / "policy-rc.d"
    code = (
        "import os, pathlib; from local.machine import packages\n"
        f"with packages._no_services(pathlib.Path({str(policy)!r})): os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY)
    assert allows_services(policy)
    with packages._no_services(policy):  # It takes the place of the one that was left.
        assert not allows_services(policy, **packages._environment())
    assert not policy.exists()


def test_a_policy_of_the_machine_s_own_stays(tmp_path):
    policy = tmp_path / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 0\n")
    with packages._no_services(policy):
        pass
    assert policy.read_text() == "#!/bin/sh\nexit 0\n"


def test_where_debian_s_keys_are_missing_their_package_is(monkeypatch, tmp_path):
    """Ubuntu: mmdebstrap does not depend on them, and would fail after all the compiling."""
    monkeypatch.setattr(packages, "KEYRING", tmp_path / "keys.gpg")
    assert packages.KEYRING_PACKAGE in packages.missing()
    (tmp_path / "keys.gpg").touch()
    assert packages.KEYRING_PACKAGE not in packages.missing()
