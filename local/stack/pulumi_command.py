"""`pulumi` with its progress on this terminal, ended in order when this command is."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType

from ..console import say
from ..home import REPOSITORY
from ..person import as_person
from ..signals import ENDING, handled
from .locks import LOCKED


def run(words: Sequence[str], variables: Mapping[str, str]) -> tuple[int, str]:
    """Run `pulumi WORDS` to its end.

    What ends this command (Ctrl-C, SIGTERM) is handed to Pulumi as an interrupt: it ends what it
    has begun and unlocks the stack. A second one ends it at once.

    Returns:
        Its exit status, and what it said on standard error. That of a lock was not shown.

    Raises:
        KeyboardInterrupt: this command was told to end; Pulumi has ended.
    """
    with _interrupts() as interrupts:
        # Pulumi's table of the resources goes to stderr with our own progress: stdout is for
        # answers. A group of its own: a Ctrl-C reaches it once, through us.
        process = subprocess.Popen(
            ["pulumi", *words],
            cwd=REPOSITORY,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            process_group=0,
            **as_person(),
        )
        interrupts.go_to(process)
        said: list[str] = []
        reader = threading.Thread(target=_show, args=(process, said), daemon=True)
        reader.start()
        process.wait()
        # No longer than a moment: what Pulumi has started may have its end of the pipe open.
        reader.join(1)
    return process.returncode, "".join(said)


def _show(process: "subprocess.Popen[str]", said: list[str]) -> None:
    assert process.stderr is not None
    is_lock = False
    with process.stderr:
        for line in process.stderr:
            said.append(line)
            is_lock = LOCKED in line or (is_lock and line.startswith("  "))
            if not is_lock:
                sys.stderr.write(line)
                sys.stderr.flush()


class _Interrupts:
    """Signals that came, and the process that they go to."""

    def __init__(self) -> None:
        self.count = 0
        self._process: subprocess.Popen[str] | None = None

    def go_to(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        if self.count:
            process.send_signal(signal.SIGINT)

    def came(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self.count == 1:
            say("pulumi ends what it has begun; interrupt again to end it at once")
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)


@contextlib.contextmanager
def _interrupts() -> Iterator[_Interrupts]:
    """Catch what would end this process.

    Raises:
        KeyboardInterrupt: at the end, if something came.
    """
    interrupts = _Interrupts()
    numbers = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    with handled(numbers, interrupts.came):
        yield interrupts
    if interrupts.count:
        raise KeyboardInterrupt
