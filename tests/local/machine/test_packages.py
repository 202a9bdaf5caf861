"""The packages of a node. That apt installs them is for the tests on a real cluster."""

import pytest

from local.console import LocalError
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
