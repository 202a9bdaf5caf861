"""Ports that `make up` takes by number."""

import socket

from local import ports


def test_a_port_that_somebody_listens_at_is_not_free():
    """Symptom otherwise: a second home's stack asks for the port that the first one's has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not ports.is_free(port)
    assert ports.is_free(port)
