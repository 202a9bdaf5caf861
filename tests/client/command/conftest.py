"""What the tests of the command share."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture
def interrupts() -> Iterator[None]:
    """Let SIGINT interrupt this process and those it starts, also where it was ignored before.

    A shell without job control starts what goes to the background (`make test &`) with SIGINT
    ignored, and children inherit that. The client itself leaves it so: whoever starts a command
    like that does not want Ctrl-C to end it.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
