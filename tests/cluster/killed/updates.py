"""A `pulumi` command under way: how far it is, the processes that it is made of, their end."""

import contextlib
import dataclasses
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.conftest import Deployment

# With the blank, since the program that the host runs has "pulumi-language-python-exec" in it.
LANGUAGE_HOST = "pulumi-language-python "
KUBERNETES_PLUGIN = "pulumi-resource-kubernetes "
DYNAMIC_PROVIDER = "pulumi.dynamic"
PATIENCE = 240
"""Seconds for a moment to come, and for a command to end once one of its processes is killed."""


@dataclass(frozen=True)
class Moment:
    """A moment of a command's progress: Pulumi begins to work on a resource."""

    name: str
    resource: str
    """How the resource's URN ends."""
    operation: str = "create"
    training: bool = False
    """Not before a pod trains."""


@dataclass(frozen=True)
class Process:
    pid: int
    started: str
    """In clock ticks after the machine's start: a later process of the same number differs."""
    command: str

    @classmethod
    def read(cls, pid: int) -> "Process | None":
        folder = Path("/proc", str(pid))
        try:
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            # The name may hold blanks and brackets; what follows it has neither.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        # Killed, and not yet waited for by whoever has inherited it.
        return None if fields[0] == "Z" else cls(pid, fields[19], words)

    def is_alive(self) -> bool:
        return Process.read(self.pid) == self

    def kill(self) -> None:
        if self.is_alive():
            os.kill(self.pid, signal.SIGKILL)


class Update:
    """`pulumi up` or `pulumi destroy` of a stack, which runs until it ends or is ended."""

    def __init__(self, deployment: Deployment, command: str, folder: Path) -> None:
        # The engine's events, by a flag that is hidden otherwise.
        variables = {**deployment.variables, "PULUMI_DEBUG_COMMANDS": "true"}
        deployment = dataclasses.replace(deployment, variables=variables)
        self._deployment = deployment
        self._events = folder / "events.json"
        self._log = (folder / "output.txt").open("w+")
        self._process = deployment.start_pulumi(
            *(command, "--yes", "--skip-preview", "--event-log", str(self._events)),
            output=self._log,
        )

    def reach(self, moment: Moment) -> None:
        """Wait until it is there; fails when the command ends before."""
        self._until(lambda: any(self._is(event, moment) for event in self._read()), moment.name)
        if moment.training:
            self._until(self._trains, moment.name)

    def _until(self, is_so: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + PATIENCE
        while not is_so():
            assert self._process.poll() is None, f"ended before: {what}\n{self.output()}"
            assert time.monotonic() < until, f"did not come: {what}\n{self.output()}"
            time.sleep(0.02)

    def _read(self) -> list[dict]:
        if not self._events.exists():
            return []
        # The last line may not be written to its end.
        lines = self._events.read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines]

    @staticmethod
    def _is(event: dict, moment: Moment) -> bool:
        metadata = event.get("resourcePreEvent", {}).get("metadata", {})
        return (
            metadata.get("urn", "").endswith(f"::{moment.resource}")
            and moment.operation in metadata["op"]
        )

    def _trains(self) -> bool:
        return any(
            "dlstack.dev/run-hash" in pod["metadata"].get("annotations", {})
            and pod["status"]["phase"] == "Running"
            for pod in self._deployment.items("pods")
        )

    def processes(self) -> list[Process]:
        """The command line itself, then all that it has started."""
        parents: dict[int, list[int]] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # It has ended meanwhile.
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                parents.setdefault(int(fields[1]), []).append(int(folder.name))
        pids = [self._process.pid]
        for pid in pids:
            pids += parents.get(pid, [])
        return [process for pid in pids if (process := Process.read(pid))]

    def interrupt(self, times: int) -> None:
        """Ctrl-C: the terminal's own signal, to its foreground group."""
        for _ in range(times):
            os.killpg(self._process.pid, signal.SIGINT)
            self._until_told()

    def _until_told(self) -> None:
        until = time.monotonic() + PATIENCE
        while self._process.poll() is None and "press ^C again" not in self.output():
            assert time.monotonic() < until, self.output()
            time.sleep(0.02)

    def kill(self, words: str) -> None:
        """Kill the process whose command line holds `words`, once there is one, with -9."""
        self._until(lambda: bool(self._those(words)), words)
        for process in self._those(words):
            process.kill()

    def _those(self, words: str) -> list[Process]:
        return [process for process in self.processes()[1:] if words in process.command]

    def kill_itself(self) -> None:
        self._process.kill()

    def kill_all(self) -> None:
        for process in self.processes():
            process.kill()

    def end(self) -> int:
        """Wait for its end and return its status."""
        status = self._process.wait(PATIENCE)
        self._log.close()
        print(self.output())
        return status

    def output(self) -> str:
        return Path(self._log.name).read_text()
