"""What is said of a machine that can't be a node."""

import pytest

from local.console import LocalError
from local.machine.checks import check_machine


def test_a_machine_that_is_not_linux_is_told_to_bring_a_cluster(monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(LocalError, match="needs Linux, and this is darwin.*KUBECONFIG"):
        check_machine("up")


def test_a_user_who_is_not_root_is_told_both_ways_out(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(LocalError, match="needs root, and this is user id 1000.*sudo.*KUBECONFIG"):
        check_machine("up")
