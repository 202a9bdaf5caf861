"""Ports of this machine that `make up` opens by number; the others are given by the cluster."""

from __future__ import annotations

import socket

GRPC_NODE_PORT = 31670
"""Of a new stack's predictions. If it is not free, the cluster gives another."""


def is_free(port: int) -> bool:
    """Whether nobody listens there on this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
