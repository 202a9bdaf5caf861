"""The boot file as a child process: its output passed on line by line, its end reported."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import store
from training.agent import own_modules
from training.agent.job_log import JobLog
from training.agent.output import OutputLines
from training.command_line import TrainingError

_TRAINING = Path(__file__).resolve().parents[2]
_STORE = Path(str(store.__file__)).resolve().parents[1]
"""Where the packages are that boot files import: both in the repository, or each in an archive."""


_READ_BYTES = 64 * 1024
_KILLED_SECONDS = 1.0
"""More than a process that got SIGKILL takes to be gone, unless the kernel holds it."""


class BootProcess:
    """A started boot file. It leads a process group of its own, so that all of it can be ended.

    In a `with` statement it is ended when that is left by an exception, Ctrl-C among them.
    """

    def __init__(
        self,
        code_dir: Path,
        boot_file: str,
        arguments: Sequence[str],
        log: JobLog,
        environment: Mapping[str, str],
        *,
        python: Path | None = None,
        grace_seconds: float = 10.0,
    ) -> None:
        """Start `boot_file` in `code_dir`; raise TrainingError when it is not there.

        Args:
            environment: variables in addition to the agent's own.
            python: of a virtual environment to run it in; None: the agent's own.
            grace_seconds: from SIGTERM to SIGKILL at the end of a `with` statement.
        """
        if not (code_dir / boot_file).is_file():
            there = sorted(
                file.relative_to(code_dir).as_posix()
                for file in code_dir.rglob("*")
                if file.is_file()
            )
            shown = ", ".join(there[:20]) + (", ..." if len(there) > 20 else "")
            raise TrainingError(
                f"Boot file {boot_file!r} is not in the code folder, which has: {shown}. "
                "Correct dlstack:bootFile, or put the file there."
            )
        self.cut_at: float | None = None
        """When it was killed, in seconds since 1970, maybe while it wrote a file; None: it was not,
        or runs."""
        self._log = log
        self._grace_seconds = grace_seconds
        self._process = subprocess.Popen(
            [str(python or sys.executable), "-u", boot_file, *arguments],
            cwd=code_dir,
            env={**_environment(code_dir, boot_file), **environment, **_inside(python)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._pass_output, name="boot-output", daemon=True)
        self._reader.start()

    def __enter__(self) -> "BootProcess":
        return self

    def __exit__(
        self,
        error: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self.terminate(self._grace_seconds)

    def wait(self) -> int:
        """Wait for the end; return the exit status, or 128 + N after signal N."""
        status = self._process.wait()
        self._note_whether_cut()
        # A process that it left behind would hold the output open, and the pod.
        self._signal(signal.SIGKILL)
        self._reader.join(timeout=5)
        return status if status >= 0 else 128 - status

    def terminate(self, grace: float) -> None:
        """Pass SIGTERM on; after `grace` seconds, or a second Ctrl-C, kill what is left."""
        try:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
        finally:
            self._signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_KILLED_SECONDS)
        self._note_whether_cut()
        self._reader.join(timeout=0.2)

    def _note_whether_cut(self) -> None:
        status = self._process.returncode
        if self.cut_at is None and (status is None or status < 0):
            self.cut_at = time.time()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _pass_output(self) -> None:
        """Hand the output to the log: nothing may end this, or the boot file waits for a reader."""
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        lines = OutputLines(self._log.write)
        while True:
            seconds = lines.wait_seconds()
            if not poll.poll(None if seconds is None else seconds * 1000):
                lines.idle()
                continue
            data = os.read(pipe, _READ_BYTES)
            if not data:
                break
            lines.feed(data)
        lines.finish()


def _inside(python: Path | None) -> dict[str, str]:
    """Return the variables by which programs of a virtual environment are found."""
    if python is None:
        return {}
    path = os.pathsep.join([str(python.parent), os.environ.get("PATH", os.defpath)])
    return {"VIRTUAL_ENV": str(python.parents[1]), "PATH": path}


def _environment(code_dir: Path, boot_file: str) -> dict[str, str]:
    """The agent's environment, with the code folder and what boot files import on Python's path."""
    ours = {"training": _TRAINING, "store": _STORE}
    shadowed = {
        str(path) for name, path in ours.items() if own_modules.is_meant(name, code_dir, boot_file)
    }
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = [str(code_dir), *(path for path in (*map(str, ours.values()), *given) if path)]
    paths = [path for path in dict.fromkeys(paths) if path not in shadowed]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
    }
