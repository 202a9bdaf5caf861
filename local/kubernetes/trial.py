"""A pod that tries the node: it starts, resolves a name by way of CoreDNS and reaches a Service.

What is in etcd was written by an earlier start as well: a Ready node, a Ready CoreDNS with an
address that is somebody else's by now. So each start has a trial of its own.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..console import LocalError
from ..machine.processes import Daemon, tail
from .nodes import FIRST

_MANIFEST = Path(__file__).resolve().parent / "manifests" / "reach.yaml"
_NAME = "reach"
_NAMESPACE = "/api/v1/namespaces/kube-system"
_POLL_SECONDS = 0.05
_BELIEVED_SECONDS = 10
_NEVER = "1970-01-01T00:00:00Z"
_AGAIN = "`make stop && make up` starts all of it afresh, and `make doctor` looks at the machine."


@dataclass(frozen=True)
class Trial:
    """The trial of one start of a node."""

    processes: Sequence[Daemon]
    """All of the cluster's first node, and of this one, running."""
    ask: Callable[[str, str], bytes | None]
    """The API server's answer to a method and a path; None if it gave none or refused."""
    logs: Callable[[str], str]
    """The last lines of the log of a pod, or of a Deployment's, in kube-system."""
    node: str = FIRST
    """Name of the node."""

    @property
    def _app(self) -> str:
        """What all trials of the node have in their label `app`."""
        return _NAME if self.node == FIRST else f"{_NAME}-{self.node}"

    @property
    def name(self) -> str:
        """Name of the pod: the same while all processes are the same."""
        start = " ".join(f"{process.pid()} {process.started()}" for process in self.processes)
        return f"{self._app}-{hashlib.sha256(start.encode()).hexdigest()[:12]}"

    def manifest(self, image: str) -> str:
        """What to apply: the pod. One that has succeeded stays as it is."""
        text = _MANIFEST.read_text()
        for name, value in (
            ("NAME", self.name),
            ("APP", self._app),
            ("NODE", self.node),
            ("IMAGE", image),
        ):
            text = text.replace(f"${{{name}}}", value)
        return text

    def finish(self, seconds: float) -> None:
        """Wait until the pod has succeeded, and remove those of earlier starts.

        Args:
            seconds: how long it may take.

        Raises:
            LocalError: it failed; the message says in which part, and what to do.
        """
        name, until = self.name, time.monotonic() + seconds
        while True:
            pod = json.loads(self.ask("GET", f"{_NAMESPACE}/pods/{name}") or "{}")
            # Told a second before the pod's phase, which waits until its network is taken down.
            ended = _container_state(pod).get("terminated")
            if ended and ended["exitCode"] == 0 and self._serves_names(_time(ended["finishedAt"])):
                break
            failed = (ended and ended["exitCode"]) or pod.get("status", {}).get("phase") == "Failed"
            if failed or time.monotonic() > until:
                failure = self._failure(name, pod, seconds)
                # The next `make up` tries anew.
                self.ask("DELETE", f"{_NAMESPACE}/pods/{name}")
                raise failure
            time.sleep(_POLL_SECONDS)
        earlier = f"labelSelector=app%3D{self._app}&fieldSelector=metadata.name%21%3D{name}"
        self.ask("DELETE", f"{_NAMESPACE}/pods?{earlier}")

    def _serves_names(self, tried: float) -> bool:
        """Whether CoreDNS is ready, and will not be taken for not ready yet in the next moment.

        Its pod may answer while etcd still has the Ready of an earlier start; then it is not until
        it has been probed. A pod that outlived all processes is not told from that: it is believed
        some seconds later.

        Args:
            tried: when the trial ended, in seconds since the epoch.
        """
        since = int(min(process.started() for process in self.processes))
        return any(
            status["ready"]
            and (
                _time(status["state"].get("running", {}).get("startedAt", _NEVER)) >= since
                or time.time() > tried + _BELIEVED_SECONDS
            )
            for pod in self._coredns_pods()
            for status in pod.get("status", {}).get("containerStatuses", [])
        )

    def _failure(self, name: str, pod: dict[str, Any], seconds: float) -> LocalError:
        state = _container_state(pod)
        part, _, detail = state.get("terminated", {}).get("message", "").strip().partition(": ")
        if state.get("terminated", {}).get("exitCode") == 0:
            part, detail = "name", "a pod did once, but CoreDNS is not ready"
        if part == "name":
            return LocalError(
                f"pods can't resolve names in this cluster: {detail}. "
                f"CoreDNS is {self._coredns()}.",
                f"{_AGAIN} {self.logs('deployment/coredns')}",
            )
        if part == "service":
            return LocalError(
                f"pods resolve names, but reach no Service: {detail}.",
                f"{_AGAIN} {self._log_of('kube-proxy')}",
            )
        if "running" in state:
            return LocalError(
                f"a pod that tries the cluster has not ended after {seconds:.0f} s.", _AGAIN
            )
        if why := self._why_not_started(name, pod, state):
            return LocalError(f"pods don't start: {why}.", _AGAIN)
        return LocalError("pods don't start.", f"{_AGAIN} {self._log_of('kubelet')}")

    def _why_not_started(self, name: str, pod: dict[str, Any], state: dict[str, Any]) -> str:
        """What the node agent says of it; empty if it says nothing."""
        answer = self.ask("GET", f"{_NAMESPACE}/events?fieldSelector=involvedObject.name%3D{name}")
        warnings = [
            event["message"]
            for event in json.loads(answer or '{"items": []}')["items"]
            if event["type"] == "Warning"
        ]
        said = (
            pod.get("status", {}).get("message")
            or (warnings[-1] if warnings else "")
            or state.get("waiting", {}).get("message")
            or state.get("terminated", {}).get("message")
            or ""
        )
        return str(said).strip().rstrip(".")

    def _coredns(self) -> str:
        """How its pods are, in a word or two."""
        pods = self._coredns_pods()
        words = [
            state.get("waiting", {}).get("reason") or next(iter(state), "not started")
            for state in map(_container_state, pods)
        ]
        return ", ".join(words) or "not there"

    def _coredns_pods(self) -> list[dict[str, Any]]:
        answer = self.ask("GET", f"{_NAMESPACE}/pods?labelSelector=k8s-app%3Dkube-dns")
        pods: list[dict[str, Any]] = json.loads(answer or '{"items": []}')["items"]
        return pods

    def _log_of(self, process: str) -> str:
        log = next(daemon.log for daemon in self.processes if daemon.name == process)
        return f"The log of {process} is {log} and ends with:\n{tail(log)}"


def _time(text: str) -> float:
    """Seconds since the epoch of a time as the API writes it."""
    return datetime.fromisoformat(text).timestamp()


def _container_state(pod: dict[str, Any]) -> dict[str, Any]:
    statuses = pod.get("status", {}).get("containerStatuses", [])
    state: dict[str, Any] = statuses[0]["state"] if statuses else {}
    return state
