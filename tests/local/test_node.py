"""What the node changes in the machine. That it works is for the tests on a real cluster."""

import pytest

from local.console import LocalError
from local.machine import node

RULES = """\
*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:CNI-0123 - [0:0]
:DOCKER - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -j DOCKER
-A KUBE-SERVICES -d 10.79.0.1/32 -j KUBE-SVC-A
-A POSTROUTING -s 10.78.0.2/32 -j CNI-0123
-A FORWARD -s 10.78.0.0/16 -m comment --comment dlstack0 -j ACCEPT
COMMIT
"""


def test_only_our_firewall_rules_are_removed():
    assert node.without_ours(RULES) == (
        "*nat\n:PREROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n-A PREROUTING -j DOCKER\nCOMMIT\n"
    )


def test_a_machine_that_is_not_linux_is_told_to_bring_a_cluster(monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(LocalError, match="needs Linux, and this is darwin.*KUBECONFIG"):
        node.check_machine()


def test_a_user_who_is_not_root_is_told_both_ways_out(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(LocalError, match="needs root, and this is user id 1000.*sudo.*KUBECONFIG"):
        node.check_machine()


def test_without_apt_the_missing_packages_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.which", lambda program: None)
    with pytest.raises(LocalError, match="no apt-get: containerd runc .*KUBECONFIG"):
        node.install_packages(tmp_path / "log")
