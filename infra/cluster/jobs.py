"""What the cluster's API tells of a Job, read from its JSON; nothing is asked here."""

from collections.abc import Iterable, Mapping
from typing import Any

from .last_words import last_words
from .names import RUN_HASH_ANNOTATION, TRAINING
from .pod_defaults import QUEUE_LABEL

EXIT_TERMINATED = 143
"""The agent's status after SIGTERM, and of nothing else: the pod was deleted."""


def pod_annotations(job: Mapping[str, Any]) -> dict[str, str]:
    """Return the annotations of the Job's pods."""
    return dict(job["spec"]["template"]["metadata"].get("annotations") or {})


def is_of_a_run(job: Mapping[str, Any]) -> bool:
    """Say whether it is a training run."""
    return RUN_HASH_ANNOTATION in pod_annotations(job)


def queue_of(job: Mapping[str, Any]) -> str | None:
    """Return the queue in which the suspended Job waits for room; None: it doesn't.

    Whoever cancels a Job takes it out of its queue (`ending.suspend`).
    """
    name = (job["metadata"].get("labels") or {}).get(QUEUE_LABEL)
    return str(name) if name and job["spec"].get("suspend") else None


def is_suspended(job: Mapping[str, Any]) -> bool:
    """Say whether the Job was told to end its pods, as `python -m infra cancel` does."""
    return bool(job["spec"].get("suspend")) and queue_of(job) is None


def is_active(job: Mapping[str, Any]) -> bool:
    """Say whether the Job has pods, or will have some."""
    return end_of(job) is None and not is_suspended(job)


def is_going(job: Mapping[str, Any]) -> bool:
    """Say whether the Job was deleted, and is only there until its pods are gone."""
    return bool(job["metadata"].get("deletionTimestamp"))


def end_of(job: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the condition that ended the Job: its type is Complete or Failed."""
    for condition in job.get("status", {}).get("conditions", []):
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return dict(condition)
    return None


def container_of(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the state of the container that trains: a cluster may put others beside it."""
    for status in pod.get("status", {}).get("containerStatuses", []):
        if status["name"] == TRAINING:
            return dict(status.get("state", {}))
    return {}


def outlived_by(pod: Mapping[str, Any]) -> list[str]:
    """Return the containers that run although the one that trains has ended.

    A mesh may put one there, which keeps pod and Job from ending. Those that end with the others by
    themselves (native sidecars) are among the init containers.
    """
    if "terminated" not in container_of(pod) or pod["metadata"].get("deletionTimestamp"):
        return []
    listed = pod["status"]["containerStatuses"]
    return [str(one["name"]) for one in listed if "running" in one.get("state", {})]


def outlived(pods: Iterable[Mapping[str, Any]]) -> str:
    """Return what keeps pods from ending whose training has ended, with advice; empty: nothing."""
    found = sorted({name for pod in pods for name in outlived_by(pod)})
    if not found:
        return ""
    named = ", ".join(f"'{name}'" for name in found)
    return (
        f"The training has ended, but {named}, which the cluster puts into its pods, runs on and "
        "keeps the Job from ending. Let the mesh use native sidecars, or leave the pods out of it "
        "with dlstack:podLabels or dlstack:podAnnotations: see docs/clusters.md"
    )


def _ended(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return how the training container ended; of a pod that its node threw out, why it did."""
    ended = container_of(pod).get("terminated", {})
    status = pod.get("status", {})
    if status.get("reason") == "Evicted" and ended.get("exitCode"):
        return {**ended, "reason": "Evicted", "message": str(status.get("message", "")).strip()}
    return dict(ended)


def last_failure(pods: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return how the pod ended that failed last by itself; None if none did.

    The agents of other workers wait for it until the Job's end tells them to end as well.
    """
    ended = [_ended(pod) for pod in pods]
    failed = [end for end in ended if end.get("exitCode") not in (0, None, EXIT_TERMINATED)]
    return max(failed, key=lambda end: str(end.get("finishedAt", "")), default=None)


def in_words(failure: Mapping[str, Any]) -> str:
    """Return exit status and the line that says most, of how a pod ended."""
    status = f"exit status {failure['exitCode']}"
    if failure.get("reason") == "OOMKilled":
        status += " (OOMKilled: it used more memory than dlstack:flavour has)"
    elif failure.get("reason") == "Evicted":
        status += " (evicted from its node: see disk in dlstack:flavours)"
    elif failure.get("reason") not in (None, "Error"):
        status += f" ({failure['reason']})"
    return f"{status}: {last_words(failure.get('message', ''))}".strip(": ")


def end_in_words(end: Mapping[str, Any], until_then: object) -> str:
    """Return why a Job ended without a word of its pods, and what it waited for, if anything."""
    if took_too_long(end):
        reason = "it took longer than dlstack:timeout"
    else:
        reason = f"{end.get('reason', '')}: {end.get('message', '')}".strip(": ")
    return f"{reason}; until then {until_then}" if until_then else reason


def took_too_long(end: Mapping[str, Any]) -> bool:
    """Say whether a Job's time was over."""
    return end.get("reason") == "DeadlineExceeded"
