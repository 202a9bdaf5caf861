"""SIGTERM and Ctrl-C: what the agent is told to end by."""

import signal
import time
from types import FrameType

EXIT_TERMINATED = 128 + signal.SIGTERM


class Terminated(BaseException):
    """One of them came. Not an Exception, so that no handler of ordinary errors swallows it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = 128 + number
        self.cause = signal.Signals(number).name
        self.arrived = time.monotonic()


def raise_on_signals() -> None:
    """Have each of them raise Terminated in the main thread."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _raise)


def _raise(number: int, _frame: FrameType | None) -> None:
    raise Terminated(number)
