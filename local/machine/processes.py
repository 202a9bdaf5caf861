"""Processes that outlive the command that starts them, and commands whose output goes to a log."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from .. import disk
from ..console import LocalError
from ..signals import ENDING, handled
from . import proxies
from .checks import MachineError

# Started here and meant to outlive this command: kept, for Python complains of a handle dropped
# while its process runs.
_left_running: list[subprocess.Popen[bytes]] = []


_MARK = "DLSTACK_DAEMON"
"""Variable of each background process: the file that has its id, whatever becomes of that file."""

# Of `run_logged`.
_logged: set[subprocess.Popen[bytes]] = set()


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log, indented; empty when there is no such file."""
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
    return "".join(f"    {line}\n" for line in text.splitlines()[-lines:])


def run(*words: str | Path, given: str | None = None) -> str:
    """Standard output of a command that changes or reads this machine.

    Args:
        given: its standard input.

    Raises:
        MachineError: it failed.
    """
    done = subprocess.run(words, input=given, capture_output=True, text=True)
    if done.returncode:
        raise MachineError(
            f"`{' '.join(map(str, words))}` failed: {done.stderr.strip()}",
            "The embedded cluster needs this of the machine.",
        )
    return done.stdout


def run_logged(
    argv: Sequence[str | Path],
    log: Path,
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a command to its end with its output in `log`.

    Raises:
        LocalError: the program is missing or failed; the message ends with the log's last lines.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    process: subprocess.Popen[bytes] | None = None
    with open(log, "w") as output:
        try:
            with _signals_wait():
                process = _begun(argv, output, cwd, environment or {})
                _logged.add(process)
            status = process.wait()
        except BaseException:
            # Ctrl-C reaches it by itself; what ends this command alone does not.
            if process is not None:
                process.terminate()
                process.wait()
            raise
        finally:
            if process is not None:
                _logged.discard(process)
    if status:
        said = tail(log)
        if full := disk.full(said, log.parent):
            raise full
        raise LocalError(
            f"'{Path(argv[0]).name} {argv[1]}' ended with status {status}.",
            f"Its output is in {log} and ends with:\n{said}",
        )


def _begun(
    argv: Sequence[str | Path], output: IO[str], cwd: Path | None, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, **environment},
        )
    except FileNotFoundError as error:
        raise LocalError(f"the program '{argv[0]}' is not installed.", "Install it.") from error


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """Have what would end this command wait until the end of the block.

    A process that has begun, and is not known yet because a signal came in the middle of
    `subprocess.Popen`, would run on with nobody to end it.
    """
    if threading.current_thread() is not threading.main_thread():
        # Python handles signals in the main thread alone.
        yield
        return
    came: list[int] = []
    # What is ignored stays so, as a new process inherits that.
    numbers = [number for number in ENDING if callable(signal.getsignal(number))]
    try:
        with handled(numbers, lambda number, _: came.append(number)):
            yield
    finally:
        if came:
            signal.raise_signal(came[0])


def end_logged() -> None:
    """Ask the commands to end that `run_logged` runs in other threads: nobody waits for them."""
    for process in list(_logged):
        process.terminate()


def _start_time(pid: int) -> str | None:
    """Start time of a live process (field 22 of proc(5)'s stat): tells a re-used id apart."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]


def started_at(pid: int) -> float | None:
    """When a process started, in seconds since the epoch; None when there is no such process."""
    ticks = _start_time(pid)
    if ticks is None:
        return None
    boot = next(
        line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime ")
    )
    return int(boot.split()[1]) + int(ticks) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Daemon:
    """A background process known by a file that holds its id and start time."""

    name: str
    argv: Sequence[str | Path]
    folder: Path
    """Working folder; below it, `pids/NAME` has the process id and `logs/NAME.log` the output."""
    environment: Mapping[str, str] = field(default_factory=dict)
    reads: Sequence[Path] = ()
    """Files that it reads at its start only: with another content it is another process."""

    @property
    def log(self) -> Path:
        return self.folder / "logs" / f"{self.name}.log"

    @property
    def _pid_file(self) -> Path:
        return self.folder / "pids" / self.name

    def pid(self) -> int | None:
        """The id of the live process, or None."""
        known = self._known()
        if known and _start_time(known["pid"]) == known["start_time"]:
            return int(known["pid"])
        return None

    def has_changed(self) -> bool:
        """Whether it was last started as something else than what it is to be now."""
        known = self._known()
        return known is None or known.get("command") != self._command()

    def started(self) -> float:
        """When it was last started, in seconds since the epoch."""
        return self._pid_file.stat().st_mtime

    def start(self, words: Sequence[str | Path] = ()) -> bool:
        """Start the process unless it runs as it is to be; true when it was started now.

        Args:
            words: what to run in the place of `argv`, if that comes to the same.
        """
        if self.pid() is not None:
            if not self.has_changed():
                return False
            self.stop()
        for path in (self.log, self._pid_file):
            path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "w") as output:
            process = subprocess.Popen(
                [str(word) for word in words or self.argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                # They talk to each other and to pods, not to the world.
                env={
                    **proxies.without(os.environ),
                    **self.environment,
                    _MARK: str(self._pid_file),
                },
                start_new_session=True,
            )
        _left_running.append(process)
        known = {
            "pid": process.pid,
            "start_time": _start_time(process.pid),
            "command": self._command(),
        }
        self._pid_file.write_text(json.dumps(known))
        return True

    def stop(self, grace_seconds: float = 1) -> None:
        """End the process: SIGTERM, and SIGKILL when it has not ended within the grace."""
        pid = self.pid()
        if pid is not None:
            end_process(pid, grace_seconds)
        self._pid_file.unlink(missing_ok=True)

    def _known(self) -> dict[str, Any] | None:
        """What was written down when it was last started."""
        try:
            known: dict[str, Any] = json.loads(self._pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return known

    def _command(self) -> str:
        """A hash of all that says what this process is."""
        total = hashlib.sha256()
        for word in (*self.argv, *(f"{n}={v}" for n, v in sorted(self.environment.items()))):
            total.update(str(word).encode() + b"\0")
        for path in self.reads:
            total.update(path.read_bytes() + b"\0")
        return total.hexdigest()


def started_in(folder: Path, *, alone: bool = False) -> list[int]:
    """The ids of the processes that daemons of a folder are, also if no file tells of them.

    Args:
        folder: as daemons have it, or one above; it may be gone.
        alone: leave out what the daemons themselves have started.
    """
    mark, found = f"{_MARK}={folder}/".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        pid = int(process.name)
        with contextlib.suppress(OSError):
            variables = (process / "environ").read_bytes().split(b"\0")
            is_ours = any(variable.startswith(mark) for variable in variables)
            if is_ours and (os.getsid(pid) == pid or not alone):
                found.append(pid)
    return found


def end_process(pid: int, grace_seconds: float) -> None:
    """Ask a process to end; kill it when it has not within `grace_seconds` (0: at once)."""
    descriptor = _open(pid)
    if descriptor is None:
        return
    try:
        for sign, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 10.0)):
            if not seconds:
                continue
            signal.pidfd_send_signal(descriptor, sign)
            if select.select([descriptor], [], [], seconds)[0]:
                return
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)


def has_ended(pid: int, seconds: float) -> bool:
    """Wait until a process has ended; false when it still runs after `seconds`."""
    descriptor = _open(pid)
    if descriptor is None:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def _open(pid: int) -> int | None:
    """Return a file descriptor of a process; None when it has ended."""
    try:
        return os.pidfd_open(pid)
    except (ProcessLookupError, FileNotFoundError):
        # ENOENT is what newer kernels say of one that is ending just now.
        return None
