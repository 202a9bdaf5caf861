"""The log of a training run: of its pod while that is there, of the bucket for all time.

The bucket's copy is complete but some seconds behind, and lacks the last words of a process that
was killed; the pod's is up to the moment, but goes with the pod, as do those of earlier attempts.
So one is shown and then what the other has more.
"""

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote

import pulumi

from store.client import Client
from store.errors import Gone
from store.objects import read
from store.urls import S3Url

from ..cluster import api, names, troubles
from ..cluster.jobs import end_of, is_suspended
from ..cluster.lost_pods import LostPods
from ..run import run_record
from ..run.run_hash import short
from ..run.run_record import progress_text
from . import job_state
from .deployed import Deployed

_MOMENT = re.compile(rb"\d{4}-\d\d-\d\dT")
_OVERLAP_LINES = 1000
_SILENT_SECONDS = 60
"""A stream that is silent for longer is opened again: its connection may be dead."""
_PAUSE_SECONDS = 1
_TRIES = 5
"""How often an ended Job's log is asked for whose node does not answer."""
_AWAY_SECONDS = 30.0
"""How long the cluster may be unreachable while a log is followed."""
_SNAPSHOT_SECONDS = 3.0
"""The same where the bucket has the log as well."""
_PROGRESS_SECONDS = 15.0
_PROGRESS_SHARE = 0.05
"""How often to say how far the run is: every 15 s at first, of a run of days every hour."""

_Answer = TypeVar("_Answer")

Write = Callable[[bytes], object]
Say = Callable[[str], object]


class RunLog:
    """The log of one worker of one run."""

    def __init__(
        self, stack: Deployed, client: Client, run: str, worker: int, write: Write, say: Say
    ) -> None:
        """Prepare to show a log.

        Args:
            stack: whose run it is.
            client: of its object store.
            run: the run hash, or its first digits.
            worker: number of the worker.
            write: takes the log, in whole lines.
            say: takes what is to be said of it.
        """
        self._stack = stack
        self._client = client
        self._run = run
        self._worker = worker
        self._write = write
        self._say = say
        self._seen = ""
        """Time of the last line that was shown of `_pod`."""
        self._pod = ""
        """Uid of the pod that was shown last."""
        self._lost = LostPods(stack.cluster, stack.namespace)

    def show(self, job: Mapping[str, Any] | None) -> bool:
        """Write what there is now, return whether there is anything.

        Args:
            job: the run's Job, if the cluster still has it.
        """
        stored = self._stored()
        pod = self._worker_pod(job) if job else None
        live: list[bytes] = []
        if pod is not None and job_state.has_log(pod):
            try:
                live = self._patiently(self._snapshot, pod, seconds=_SNAPSHOT_SECONDS)
            except api.NoAnswer as exc:
                # Its node may be gone. What it wrote until some seconds before is in the bucket.
                self._seen = ""
                self._say(f"warning: {exc}")
            # What is not a whole line yet is in the pod's log.
            stored = stored[: stored.rfind(b"\n") + 1]
        lines = stored.split(b"\n")
        if lines[-1] == b"":
            lines.pop()
        lines += live[continuation(lines, live) :]
        if lines:
            self._write(b"\n".join(lines) + b"\n")
        return bool(lines)

    def follow(self, job: Mapping[str, Any]) -> Mapping[str, Any]:
        """Write what comes after `show`, until the Job ends or is cancelled; return it then.

        Raises:
            pulumi.RunError: the Job was deleted meanwhile, or the cluster went away.
        """
        with self._told_how_far():
            return self._to_the_end(job)

    def _to_the_end(self, job: Mapping[str, Any]) -> Mapping[str, Any]:
        name = job["metadata"]["name"]
        complete = waiting = ""
        broken = 0
        while True:
            job = self._patiently(self._job, name)
            pods = self._patiently(self._pods, job)
            # As a `pulumi up` does that waits: the Job makes no other pod before.
            for sentence in self._patiently(self._lost.give_up, pods):
                self._say(f"{sentence[0].upper()}{sentence[1:]}")
            pod = job_state.worker_pod(pods, job, self._worker)
            unread = pod is not None and pod["metadata"]["uid"] != complete
            if pod is not None and unread and job_state.has_log(pod):
                # Looked at before the log is read: then nothing came after what was read.
                ended = job_state.has_ended(pod)
                whole = self._stream(pod)
                broken = 0 if whole else broken + 1
                if whole and ended or broken > _TRIES and end_of(job) is not None:
                    complete = pod["metadata"]["uid"]
                    continue
                if not whole:
                    time.sleep(_PAUSE_SECONDS)
                    continue
            elif end_of(job) is not None or is_suspended(job) and not unread:
                return job
            elif pod is None or unread:
                reason = self._patiently(self._why_waiting, job, pod)
                if reason and reason != waiting:
                    self._say(f"Waiting for the Job's pod: {reason}")
                waiting = reason
            # A pod that has not begun, or that ends, changes itself; a new one changes the Job.
            if pod is not None and unread:
                self._await_change("api/v1/pods", pod)
            else:
                self._await_change("apis/batch/v1/jobs", job)

    @contextlib.contextmanager
    def _told_how_far(self) -> Iterator[None]:
        """Say now and then how far the run is, while the log is written by another thread."""
        over = threading.Event()
        thread = threading.Thread(target=self._tell_how_far, args=(over,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(_PAUSE_SECONDS)

    def _tell_how_far(self, over: threading.Event) -> None:
        began = time.monotonic()
        last = None
        while not over.wait(max(_PROGRESS_SECONDS, _PROGRESS_SHARE * (time.monotonic() - began))):
            progress = run_record.progress_of(self._client, self._stack.output_bucket, self._run)
            if progress is None:
                continue
            if last not in (None, progress.at) and not over.is_set():
                self._say(f"[{progress_text(progress, datetime.now(UTC))}]")
            last = progress.at

    def _stored(self) -> bytes:
        key = log_key(self._run, self._worker)
        try:
            return read(self._client, S3Url(self._stack.output_bucket, key))
        except Gone:
            return b""

    def _job(self, name: str) -> Mapping[str, Any]:
        job = self._stack.get(self._stack.path(f"apis/batch/v1/jobs/{name}"))
        if job is None:
            raise pulumi.RunError(
                f"The Job '{name}' was deleted. 'python -m infra runs' lists the runs."
            )
        return job

    def _worker_pod(self, job: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return job_state.worker_pod(self._pods(job), job, self._worker)

    def _pods(self, job: Mapping[str, Any]) -> list[dict[str, Any]]:
        return self._stack.items(f"api/v1/pods?labelSelector=job-name={job['metadata']['name']}")

    def _why_waiting(self, job: Mapping[str, Any], pod: Mapping[str, Any] | None) -> str:
        """Return why a Job has no pod, or one that has not begun; empty if nothing is known."""
        trouble = troubles.of_job(job, self._pods(job), self._stack.items("api/v1/events"))
        if trouble is not None:
            return str(trouble)
        return job_state.waits_for(pod) if pod else ""

    def _snapshot(self, pod: Mapping[str, Any]) -> list[bytes]:
        """Return all lines of the pod's log; `_read` goes on behind them."""
        self._seen = ""
        return list(self._read(pod, follow=False))

    def _stream(self, pod: Mapping[str, Any]) -> bool:
        """Write what the pod's log has more; return whether it was read to its end."""
        try:
            for line in self._read(pod, follow=True):
                self._write(line + b"\n")
        except api.NoAnswer:
            # Silent for long, or broken off; `follow` goes on where this ended.
            return False
        return True

    def _read(self, pod: Mapping[str, Any], *, follow: bool) -> Iterator[bytes]:
        """Yield the lines of a pod's log that were not read yet."""
        metadata = pod["metadata"]
        if metadata["uid"] != self._pod:
            self._pod, self._seen = metadata["uid"], ""
        path = self._stack.path(f"api/v1/pods/{metadata['name']}/log")
        # Lines are told apart by their times, of which there are no two the same in one container.
        path += f"?container={names.TRAINING}&timestamps=true&follow={str(follow).lower()}"
        if self._seen:
            path += f"&sinceTime={quote(self._seen)}"
        for line in api.lines(self._stack.cluster, path, _SILENT_SECONDS if follow else 0):
            moment, _, text = line.partition(b" ")
            # In the log of a container that is gone stands a remark of the kubelet's own.
            if not _MOMENT.match(moment):
                continue
            # Of the last second all lines come again.
            if moment.decode() > self._seen:
                self._seen = moment.decode()
                yield text

    def _await_change(self, kind: str, known: Mapping[str, Any]) -> None:
        """Return when an object is another than the one that is `known`."""
        path = f"{self._stack.path(kind)}?fieldSelector=metadata.name={known['metadata']['name']}"

        def changed() -> None:
            for event, found in api.events(self._stack.cluster, path, _SILENT_SECONDS):
                version = found["metadata"]["resourceVersion"]
                if event == "DELETED" or version != known["metadata"]["resourceVersion"]:
                    return

        self._patiently(changed)

    def _patiently(
        self, ask: Callable[..., _Answer], *words: object, seconds: float = _AWAY_SECONDS
    ) -> _Answer:
        """Return `ask(*words)`; while the cluster is away for some seconds, try again."""
        last = time.monotonic() + seconds
        while True:
            began = time.monotonic()
            try:
                return ask(*words)
            except api.NoAnswer:
                # Not of a watch that went well for long before.
                if began > last:
                    raise
                time.sleep(_PAUSE_SECONDS)


def log_key(run: str, worker: int) -> str:
    """Return the key of a worker's log in the output bucket."""
    folder = f"runs/{short(run)}"
    return f"{folder}/log.txt" if worker == 0 else f"{folder}/workers/{worker}/log.txt"


def continuation(stored: Sequence[bytes], live: Sequence[bytes]) -> int:
    """Return from which line on `live` has what `stored` lacks.

    `stored` ends with lines of `live`, or of an earlier pod. The longest end of it that is in
    `live` is taken for the place up to which both are the same.
    """
    best, place = 0, 0
    for end in range(len(live), 0, -1):
        same = 0
        while (
            same < min(end, len(stored), _OVERLAP_LINES)
            and live[end - 1 - same] == stored[-1 - same]
        ):
            same += 1
        if same > best:
            best, place = same, end
    return place
