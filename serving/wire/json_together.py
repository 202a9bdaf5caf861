"""Several requests in JSON read as one document: rows of numbers, in lists, under one name.

simdjson takes half of the time for them, and all that is around it is done once.
"""

from __future__ import annotations

from collections.abc import Sequence

from .json_document import MOST_AT_ONCE
from .json_numbers import Numbers, Quick, read_document


def alike(bodies: Sequence[bytes]) -> list[list[int]]:
    """Return which bodies `read` may take together, by their positions: of as many lists."""
    found: dict[int, list[int]] = {}
    for position, body in enumerate(bodies):
        found.setdefault(body.count(b"["), []).append(position)
    return list(found.values())


def read(bodies: Sequence[bytes]) -> Quick | None:
    """Return requests as one, whose rows are theirs, as many of each; None: read each alone.

    What isn't valid by itself must not become valid here. Each body has all that is around its
    rows in common with the first one, begins and ends with a row, and has as many brackets. So
    where all together are lists of numbers of one length, each has whole ones, and as many.

    Args:
        bodies: of as many lists.
    """
    first = bodies[0]
    start, end = first.find(b"[") + 1, first.rfind(b"]")
    head, tail = first[:start], first[end:]
    if tail.translate(None, b" \t\n\r") != b"]}" or sum(map(len, bodies)) > MOST_AT_ONCE:
        return None
    rows = []
    for body in bodies:
        row = body[start : len(body) - len(tail)]
        if not (body.startswith(head) and body.endswith(tail) and row[:1] + row[-1:] == b"[]"):
            return None
        rows.append(row)
    per_body = first.count(b"[") - 1
    document = read_document(head + b",".join(rows) + tail, 1 + per_body * len(bodies))
    # As many names as colons before the rows: none among them.
    if document is None or len(document) != head.count(b":"):
        return None
    numbers = document.get("instances")
    if not isinstance(numbers, Numbers) or len(numbers.shape) != 2:
        return None
    if len(numbers) != per_body * len(bodies):
        return None
    document.count = len(bodies)
    return document
