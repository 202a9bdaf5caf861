"""What a person sees: one line a step with its elapsed time, and errors that say what to do."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

HEARTBEAT_SECONDS = 20.0


class LocalError(Exception):
    """Something the person at the keyboard can put right: what was wrong, then what to do."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what} {remedy}")
        self.what = what
        self.remedy = remedy


_started = time.monotonic()


def say(message: str) -> None:
    """Print a line to stderr behind the seconds since the command began."""
    print(f"{time.monotonic() - _started:7.1f} s  {message}", file=sys.stderr, flush=True)


def confirm(what: str, otherwise: str) -> None:
    """Go on only when a person says yes: at the keyboard, or beforehand by YES=1.

    Args:
        what: what is about to be done.
        otherwise: what else can be done, for those who say no.

    Raises:
        LocalError: nobody said yes.
    """
    print(what, file=sys.stderr, flush=True)
    if os.environ.get("YES") == "1":
        return
    if not sys.stdin.isatty():
        raise LocalError(
            "nobody is here to say yes, so nothing was done.", f"Set YES=1 to say it. {otherwise}"
        )
    print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise LocalError("you did not say yes, so nothing was done.", otherwise)


@contextmanager
def step(title: str, detail: Callable[[], str] = str) -> Iterator[None]:
    """Say when a step begins (if it is long), that it still runs, and how long it took.

    Args:
        detail: asked at each sign of life for a word on how far it is.
    """
    begun = time.monotonic()
    ended = threading.Event()

    def heartbeat() -> None:
        if ended.wait(2):
            return
        say(f"…  {title}")
        while not ended.wait(HEARTBEAT_SECONDS):
            say(f"…  {title}: {time.monotonic() - begun:.0f} s so far {detail()}".rstrip())

    thread = threading.Thread(target=heartbeat, daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        ended.set()
        say(f"✗  {title} ({time.monotonic() - begun:.1f} s)")
        raise
    ended.set()
    say(f"✓  {title} ({time.monotonic() - begun:.1f} s)")
