"""Frames between the front end and Python: a header, a head of text, and entries.

An entry is a request or an answer: id, time and body. A frame has one or more, which have all else
in common: what comes at the same time for one method or path is one frame.

serving/frontend/frames.go has the same numbers. Whoever changes what a frame means raises
`PROTOCOL`: a program of another version is not used.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

PROTOCOL = 3

HEADER = struct.Struct("<BxHIQ")
"""Kind, status, bytes of the head, bytes of all entries; little-endian."""

ENTRY = struct.Struct("<QqQ")
"""Id, microseconds, bytes of the body, which follows."""

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
    """Calls. Head: `/service/method`, body: the message, microseconds: left until the deadline."""
    HTTP = 5
    """Requests. Head: `METHOD path`, then a line `name: value` for some headers, names in lower
    case. Body: as it came."""
    CANCEL = 6
    """The callers of the requests with these ids have gone."""
    DRAINED = 7
    """No request is under way any more: the answer to DRAIN."""
    ROWS = 8
    """Requests of a form. Status: its id, see FORM. Body: the numbers, as the model takes them."""
    CONFIGURE = 16
    """Open the ports. Body: JSON, see `settings`."""
    HEALTH = 17
    """What the health service says from now on. Status: 1 for SERVING, 0 for NOT_SERVING."""
    GRPC_ANSWER = 18
    """To the calls with these ids. Status: gRPC's code. Body: the message, or the error's text."""
    HTTP_ANSWER = 19
    """To the requests with these ids. Status: HTTP's. Head: lines `name: value`. Body: as it goes.
    """
    DRAIN = 20
    """Take no new requests, and cut off what takes longer than these microseconds."""
    FORM = 21
    """How bodies look that may come as ROWS. Status: the form's id. Head: as that of HTTP. Body:
    JSON, see `forms`."""
    AGAIN = 22
    """To the ROWS with these ids: they are to come as HTTP, since their form is known no longer."""


class Entry(NamedTuple):
    """One entry of a frame that has come."""

    id: int
    micros: int
    content: bytes
    """Its body."""


def entries(frame: memoryview) -> list[Entry]:
    """Return the entries of a frame, from the bytes that follow its head."""
    found = []
    position, end, size, unpack = 0, len(frame), ENTRY.size, ENTRY.unpack_from
    while position < end:
        id, micros, length = unpack(frame, position)
        start = position + size
        position = start + length
        found.append(Entry(id, micros, bytes(frame[start:position])))
    return found


def pack(
    kind: int, status: int, head: bytes, answers: Iterable[tuple[int, bytes]], micros: int = 0
) -> list[bytes]:
    """Return a frame in parts.

    Args:
        kind, status, head: of it.
        answers: id and body of each entry.
        micros: of each entry.
    """
    parts = [b"", head]
    entry, size = ENTRY.pack, 0
    for id, body in answers:
        parts += (entry(id, micros, len(body)), body)
        size += ENTRY.size + len(body)
    parts[0] = HEADER.pack(kind, status, len(head), size)
    return parts
