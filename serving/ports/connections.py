"""Bounds of connections, the same for all ports and front ends."""

from __future__ import annotations

import resource

KEEP_ALIVE_SECONDS = 75
"""Longer than proxies and load balancers keep an idle connection: they must not find it closed."""

HEADER_SECONDS = 30
"""For all headers of a request, from the moment when it begins, or the connection does."""

BODY_SECONDS = 30
"""For each part of a body."""

_MOST = 10_000
_OWN_FILES = 100


def most_connections() -> int:
    """Return how many connections a server takes: more would use up its file descriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if hard < 0 else max(1, min(_MOST, hard - _OWN_FILES))
