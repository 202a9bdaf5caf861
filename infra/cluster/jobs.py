"""What the cluster's API tells of a Job, read from its JSON; nothing is asked here."""

from collections.abc import Mapping
from typing import Any

from .names import RUN_HASH_ANNOTATION

EXIT_TERMINATED = 143
"""The agent's status after SIGTERM, and of nothing else: the pod was deleted."""


def pod_annotations(job: Mapping[str, Any]) -> dict[str, str]:
    """Return the annotations of the Job's pods."""
    return dict(job["spec"]["template"]["metadata"].get("annotations") or {})


def is_of_a_run(job: Mapping[str, Any]) -> bool:
    """Say whether it is a training run."""
    return RUN_HASH_ANNOTATION in pod_annotations(job)


def is_suspended(job: Mapping[str, Any]) -> bool:
    """Say whether the Job was told to end its pods, as `python -m infra cancel` does."""
    return bool(job["spec"].get("suspend"))


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
