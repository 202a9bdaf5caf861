"""The cluster before it runs. That it runs is for the tests on a real cluster."""

import socket

import pytest

from local.console import LocalError
from local.kubernetes.cluster import _check_free


def test_a_taken_port_names_who_needs_it_and_how_to_find_who_has_it():
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        with pytest.raises(LocalError, match="which kubelet needs, is in use.*ss -ltnp"):
            _check_free("kubelet", taken.getsockname()[1])
