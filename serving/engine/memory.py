"""Memory that is free in the C library, and so still this process': given back to the machine."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Give back what is free; where the C library can't (it is not glibc) nothing happens.

    Loading a model takes and frees a multiple of it, in pieces that glibc keeps: without this a
    server whose models are replaced again and again grows by a graph each time, up to ten graphs.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
