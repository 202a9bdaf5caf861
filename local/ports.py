"""Ports of this machine that `make up` opens by number; the others are given by the cluster."""

from __future__ import annotations

GRPC_NODE_PORT = 31670
