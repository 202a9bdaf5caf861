"""Frames between the front end and Python: a header, a head of text and a body of bytes.

serving/frontend/frames.go has the same numbers. Whoever changes what a frame means raises
`PROTOCOL`: a program of another version is not used.
"""

from __future__ import annotations

import struct
from enum import IntEnum

PROTOCOL = 1

HEADER = struct.Struct("<BxHIQqQ")
"""Kind, status, bytes of the head, id, microseconds, bytes of the body; little-endian."""

NO_DEADLINE = -1
"""Microseconds, where there is no limit."""


class Kind(IntEnum):
    """What a frame says; below 16 from the front end, from 16 on from Python."""

    HELLO = 1
    """The first frame. Status: the protocol's version."""
    SERVING = 2
    """All ports are open: the answer to CONFIGURE."""
    FAILED = 3
    """Or they can't be. Head: why."""
    GRPC = 4
    """A call. Head: `/service/method`, body: the message, microseconds: left until its deadline."""
    HTTP = 5
    """A request. Head: `METHOD path`, then a line `name: value` for some headers, names in lower
    case. Body: as it came."""
    CANCEL = 6
    """The caller of the request with this id has gone."""
    DRAINED = 7
    """No request is under way any more: the answer to DRAIN."""
    CONFIGURE = 16
    """Open the ports. Body: JSON, see `settings`."""
    HEALTH = 17
    """What the health service says from now on. Status: 1 for SERVING, 0 for NOT_SERVING."""
    GRPC_ANSWER = 18
    """To the call with this id. Status: gRPC's code. Body: the message, or the error's text."""
    HTTP_ANSWER = 19
    """To the request with this id. Status: HTTP's. Head: lines `name: value`. Body: as it goes."""
    DRAIN = 20
    """Take no new requests, and cut off what takes longer than these microseconds."""


def pack(
    kind: int, *, status: int = 0, id: int = 0, micros: int = 0, head: bytes = b"", body: int = 0
) -> bytes:
    """Return header and head of a frame whose body has `body` bytes."""
    return HEADER.pack(kind, status, len(head), id, micros, body) + head
