"""Requests of one kind that were read together run as one."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence

from .exchanges import Exchange


def submit(exchanges: deque[Exchange]) -> None:
    """Have run what has been read, and empty the queue; for any thread."""
    by_kind: dict[Hashable, list[Exchange]] = {}
    while exchanges:
        try:
            exchange = exchanges.popleft()
        except IndexError:  # Another thread was faster.
            break
        kind = exchange.call.kind()
        if kind is None:
            exchange.submit()
        else:
            by_kind.setdefault(kind, []).append(exchange)
    for alike in by_kind.values():
        for first, *others in _batches(alike):
            if others:
                first.join(others)
            first.submit()


def _batches(exchanges: Sequence[Exchange]) -> list[list[Exchange]]:
    """Return them in groups, each of which fits into one batch; what doesn't is parted."""
    call = exchanges[0].call
    assert call.signature.queue is not None
    # As many as the rows of each allow, which are as many for all.
    rows = len(next(iter(call.inputs.values()))) // call.count
    most = max(1, call.signature.queue.most_rows // rows)
    found: list[list[Exchange]] = []
    left = 0
    for exchange in exchanges:
        for one in exchange.parted(most) if exchange.call.count > most else [exchange]:
            if one.call.count > left:
                found.append([])
                left = most
            found[-1].append(one)
            left -= one.call.count
    return found
