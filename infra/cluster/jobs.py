"""What the cluster's API tells of a Job, read from its JSON; nothing is asked here."""

from collections.abc import Mapping
from typing import Any


def pod_annotations(job: Mapping[str, Any]) -> dict[str, str]:
    """Return the annotations of the Job's pods."""
    return dict(job["spec"]["template"]["metadata"].get("annotations") or {})


def end_of(job: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the condition that ended the Job: its type is Complete or Failed."""
    for condition in job.get("status", {}).get("conditions", []):
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return dict(condition)
    return None
