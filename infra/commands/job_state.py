"""How a training Job is: read from the Job and its pods as the cluster's API tells them.

Pure functions over the API's JSON; nothing is asked here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from ..cluster import troubles
from ..cluster.jobs import (
    container_of,
    end_in_words,
    end_of,
    in_words,
    is_suspended,
    last_failure,
    outlived,
    outlived_by,
    pod_annotations,
    queue_of,
)
from ..cluster.names import ATTEMPT_ANNOTATION, REASON_ANNOTATION, RUN_HASH_ANNOTATION
from ..cluster.pods import owned_by

State = Literal["pending", "running", "succeeded", "failed", "cancelled"]

_INDEX = "batch.kubernetes.io/job-completion-index"
"""Label and annotation of an Indexed Job's pods: the worker's number."""

_REASONS_SAID_BY_THE_POD = ("BackoffLimitExceeded", "PodFailurePolicy")


@dataclass(frozen=True)
class JobState:
    """What is to be known of a training Job."""

    name: str
    run_hash: str
    attempt: int
    """1, and one more for each further Job of the same run."""
    nodes: int
    state: State
    reason: str
    """Why it waits or has failed; empty for the other states."""
    started: str | None
    """RFC 3339 time."""
    seconds: float | None
    """From its start to its end, or until now."""


def state_of(
    job: Mapping[str, Any],
    pods: Sequence[Mapping[str, Any]],
    now: datetime,
    events: Sequence[Mapping[str, Any]] = (),
) -> JobState:
    """Return the state of `job`, whose pods are among `pods`.

    Args:
        job, pods: as the cluster's API tells them.
        now: the present time.
        events: of the namespace: they say more of why a Job waits, or did so before it ended.
    """
    mine = [pod for pod in pods if owned_by(pod, job)]
    state, reason = _state(job, mine, events)
    started = job.get("status", {}).get("startTime")
    seconds = None
    if started:
        until = ended(job) or (
            now if state in ("pending", "running") else _trained_until(mine, now)
        )
        seconds = (until - _time(started)).total_seconds()
    return JobState(
        name=job["metadata"]["name"],
        run_hash=run_hash(job),
        attempt=int(pod_annotations(job).get(ATTEMPT_ANNOTATION, "1")),
        nodes=nodes(job),
        state=state,
        reason=reason,
        started=started,
        seconds=seconds,
    )


def run_hash(job: Mapping[str, Any]) -> str:
    """Return the hash of the run that `job` is for."""
    return str(pod_annotations(job).get(RUN_HASH_ANNOTATION, ""))


def nodes(job: Mapping[str, Any]) -> int:
    """Return how many workers `job` has."""
    return int(job["spec"].get("completions") or 1)


def ended(job: Mapping[str, Any]) -> datetime | None:
    """Return when `job` succeeded, failed or was cancelled; None if it goes on."""
    end = end_of(job)
    if end is None and is_suspended(job):
        conditions = job.get("status", {}).get("conditions", [])
        end = next((one for one in conditions if one["type"] == "Suspended"), None)
    moment = end.get("lastTransitionTime") if end else None
    return _time(moment) if moment else None


def newest(jobs: Iterable[Mapping[str, Any]], run: str = "") -> Mapping[str, Any] | None:
    """Return the job that was made last, of those whose run hash begins with `run`."""
    found = [job for job in jobs if run_hash(job) and run_hash(job).startswith(run)]
    return max(found, key=lambda job: str(job["metadata"]["creationTimestamp"]), default=None)


def worker_pod(
    pods: Iterable[Mapping[str, Any]], job: Mapping[str, Any], worker: int
) -> Mapping[str, Any] | None:
    """Return the newest pod of a worker of `job`, which may have been started several times."""
    found = [pod for pod in pods if owned_by(pod, job) and worker_of(pod) == worker]
    return max(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default=None)


def worker_of(pod: Mapping[str, Any]) -> int:
    """Return the number of the worker that `pod` is; 0 in a Job of one."""
    metadata = pod["metadata"]
    index = metadata.get("labels", {}).get(_INDEX) or metadata.get("annotations", {}).get(_INDEX)
    return int(index or 0)


def has_log(pod: Mapping[str, Any]) -> bool:
    """Say whether the pod's container has been started: before, there is no log to ask for."""
    return not {"running", "terminated"}.isdisjoint(container_of(pod))


def has_ended(pod: Mapping[str, Any]) -> bool:
    """Say whether the pod's container has ended: nothing will be added to its log."""
    return "terminated" in container_of(pod)


def waits_for(pod: Mapping[str, Any]) -> str:
    """Return why a pod's container is not started: `ErrImagePull: …`."""
    for condition in pod.get("status", {}).get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] != "True":
            return f"{condition.get('reason', '')}: {condition.get('message', '')}".strip(": ")
    waiting = container_of(pod).get("waiting", {})
    parts = (waiting.get("reason", ""), waiting.get("message", ""))
    return ": ".join(part for part in parts if part) or str(pod.get("status", {}).get("phase", ""))


def _state(
    job: Mapping[str, Any],
    pods: Sequence[Mapping[str, Any]],
    events: Sequence[Mapping[str, Any]],
) -> tuple[State, str]:
    end = end_of(job)
    if end and end["type"] == "Complete":
        return "succeeded", ""
    if end:
        reason = str(end.get("reason", ""))
        said = _last_words_of(pods) if reason in _REASONS_SAID_BY_THE_POD else ""
        return "failed", said or _why_ended(job, end, pods, events)
    if is_suspended(job):
        return "cancelled", "" if _have_ended(pods) else "its pods are ending"
    if queue_of(job) is not None:
        return "pending", str(troubles.of_job(job, pods, events))
    newest_pods = [pod for n in range(nodes(job)) if (pod := worker_pod(pods, job, n))]
    # All workers or none: with one missing the others wait for it.
    waiting = [pod for pod in newest_pods if not has_log(pod) or troubles.leaves_its_node(pod)]
    if waiting or len(newest_pods) < nodes(job):
        trouble = troubles.of_job(job, pods, events)
        if trouble is not None:
            return "pending", str(trouble)
        return "pending", waits_for(waiting[0]) if waiting else "no pod yet"
    if any(map(outlived_by, newest_pods)):
        if last_failure(newest_pods) is not None:
            return "failed", f"{_last_words_of(newest_pods)}. {outlived(newest_pods)}"
        if all(map(has_ended, newest_pods)):
            return "succeeded", ""
    if any(container_of(pod).get("terminated", {}).get("exitCode") for pod in newest_pods):
        said = _last_words_of(newest_pods)
        return "pending", f"to be started again after {said}" if said else "to be started again"
    return "running", ""


def _why_ended(
    job: Mapping[str, Any],
    end: Mapping[str, Any],
    pods: Sequence[Mapping[str, Any]],
    events: Sequence[Mapping[str, Any]],
) -> str:
    """Return why a Job ended without a word of its own, with what it waited for until then."""
    # Pods and events are gone some day; `pulumi up` has noted down what it saw.
    noted = str((job["metadata"].get("annotations") or {}).get(REASON_ANNOTATION, ""))
    if noted:
        return noted
    return end_in_words(end, troubles.of_job(job, pods, events))


def _trained_until(pods: Sequence[Mapping[str, Any]], now: datetime) -> datetime:
    """Return when the last training container ended, of a Job that others keep from ending."""
    ends = [container_of(pod).get("terminated", {}).get("finishedAt") for pod in pods]
    return max((_time(end) for end in ends if end), default=now)


def _have_ended(pods: Sequence[Mapping[str, Any]]) -> bool:
    """Say whether no pod of a Job runs any more."""
    return all(has_ended(pod) for pod in pods)


def _last_words_of(pods: Sequence[Mapping[str, Any]]) -> str:
    """Return the last words of the pod that failed last by itself; empty if none did."""
    failure = last_failure(pods)
    return in_words(failure) if failure else ""


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
