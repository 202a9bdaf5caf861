"""Ports that `make up` opens on this machine."""

import socket

import pytest

from local import ports
from local.console import LocalError
from tests.ports import held_port


def test_a_port_that_somebody_listens_at_is_not_free():
    """Symptom otherwise: a second home's stack asks for the port that the first one's has."""
    with held_port("127.0.0.1") as port:
        with socket.create_server(("127.0.0.1", port)):
            assert not ports.is_free(port)
        assert ports.is_free(port)


class TestNodePorts:
    def test_those_of_kubernetes_unless_somebody_asks_for_others(self, monkeypatch):
        monkeypatch.delenv("DLSTACK_NODE_PORTS", raising=False)
        assert ports.node_ports() == range(30000, 32768)
        monkeypatch.setenv("DLSTACK_NODE_PORTS", "28000-28999")
        assert ports.node_ports() == range(28000, 29000)

    @pytest.mark.parametrize(
        "asked", ["28000", "28000-", "2-1", "29000-28000", "80-90", "30000-40000", "a-b"]
    )
    def test_what_is_no_range_of_ports_is_refused(self, monkeypatch, asked):
        monkeypatch.setenv("DLSTACK_NODE_PORTS", asked)
        with pytest.raises(LocalError, match=f"DLSTACK_NODE_PORTS is '{asked}', no range") as told:
            ports.node_ports()
        assert "28000-28999" in told.value.remedy


class TestAddresses:
    def test_this_machine_alone_unless_somebody_asks_for_more(self, monkeypatch):
        monkeypatch.delenv("DLSTACK_ADDRESS", raising=False)
        assert ports.addresses() == ["127.0.0.1"]

    @pytest.mark.parametrize(
        ("asked", "opened"),
        [
            # Symptom otherwise: `make` itself finds no port at 127.0.0.1, and blames the store.
            ("127.0.0.2", ["127.0.0.1", "127.0.0.2"]),
            ("127.0.0.2, 127.0.0.1", ["127.0.0.1", "127.0.0.2"]),
            ("0.0.0.0", ["0.0.0.0"]),
            ("0.0.0.0,127.0.0.1", ["0.0.0.0"]),
        ],
    )
    def test_others_reach_the_ports_too(self, monkeypatch, asked, opened):
        monkeypatch.setenv("DLSTACK_ADDRESS", asked)
        assert ports.addresses() == opened

    @pytest.mark.parametrize(
        ("asked", "refused"),
        [
            ("localhost", "has 'localhost', which is not an IP"),
            ("127.0.0.1,203.0.113.9", "has '203.0.113.9', where this machine can't listen"),
        ],
    )
    def test_what_is_no_address_of_this_machine_is_refused(self, monkeypatch, asked, refused):
        monkeypatch.setenv("DLSTACK_ADDRESS", asked)
        with pytest.raises(LocalError, match=f"DLSTACK_ADDRESS {refused}"):
            ports.addresses()
