"""The boot file as a child process: its output passed on line by line, its end reported."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import store
from training.agent.job_log import JobLog
from training.command_line import TrainingError

_TRAINING = Path(__file__).resolve().parents[2]
_STORE = Path(str(store.__file__)).resolve().parents[1]
"""Where the packages are that boot files import: both in the repository, or each in an archive."""


class BootProcess:
    """A started boot file. It leads a process group of its own, so that all of it can be ended."""

    def __init__(
        self,
        code_dir: Path,
        boot_file: str,
        arguments: Sequence[str],
        log: JobLog,
        environment: Mapping[str, str],
    ) -> None:
        """Start `boot_file` in `code_dir`; raise TrainingError when it is not there.

        Args:
            environment: variables in addition to the agent's own.
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
        self._log = log
        self._process = subprocess.Popen(
            [sys.executable, "-u", boot_file, *arguments],
            cwd=code_dir,
            env={**_environment(code_dir), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._pass_output, name="boot-output", daemon=True)
        self._reader.start()

    def wait(self) -> int:
        """Wait for the end; return the exit status, or 128 + N after signal N."""
        status = self._process.wait()
        # A process that it left behind would hold the output open, and the pod.
        self._signal(signal.SIGKILL)
        self._reader.join(timeout=5)
        return status if status >= 0 else 128 - status

    def terminate(self, grace: float) -> None:
        """Pass SIGTERM on; after `grace` seconds kill what is left."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace)
        self._signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace)
        self._reader.join(timeout=0.2)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _pass_output(self) -> None:
        assert self._process.stdout is not None
        for line in iter(self._process.stdout.readline, b""):
            # A last line without an end must not run into the agent's next one.
            self._log.write(line if line.endswith(b"\n") else line + b"\n")


def _environment(code_dir: Path) -> dict[str, str]:
    """The agent's environment, with the code folder and what boot files import on Python's path."""
    paths = [str(code_dir), str(_TRAINING), str(_STORE), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONUNBUFFERED": "1",
    }
