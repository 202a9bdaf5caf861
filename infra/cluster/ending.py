"""Ends training Jobs so that nothing of them is lost.

A suspended Job's pods are told to end: each uploads its log and its last checkpoint, and the next
attempt at the run goes on from there. The Job itself stays, and says that it was ended.
"""

import time
from typing import Any
from urllib.parse import quote

import pulumi

from . import api
from .clusters import Cluster

_END_SECONDS = 120
"""More than a pod's grace, also on a node that has much to do."""
_SLICE_SECONDS = 5
"""After so long without news it is asked again: a pod may go between a question and a watch."""


def jobs(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    """Return the Jobs of a namespace."""
    return api.items(cluster, _jobs(namespace))


def suspend(cluster: Cluster, namespace: str, name: str) -> None:
    """Tell a Job to end its pods, and to make no others."""
    api.patch(cluster, f"{_jobs(namespace)}/{name}", {"spec": {"suspend": True}})


def delete(cluster: Cluster, namespace: str, name: str) -> None:
    """Delete a Job with its pods."""
    api.delete(cluster, f"{_jobs(namespace)}/{name}?propagationPolicy=Background")


def of_job(name: str) -> str:
    """Return the label of the pods of a Job."""
    return f"batch.kubernetes.io/job-name={name}"


def pods(cluster: Cluster, namespace: str, label: str) -> list[dict[str, Any]]:
    """Return the pods with a label."""
    return api.items(cluster, _pods(namespace, label))


def await_pods(cluster: Cluster, namespace: str, label: str) -> None:
    """Return when no pod with a label runs any more: their Jobs were suspended or deleted.

    Raises:
        pulumi.RunError: one does not end: most likely its node is lost.
    """
    left: set[str] = set()
    until = time.monotonic() + _END_SECONDS
    while time.monotonic() < until:
        found = pods(cluster, namespace, label)
        left = {pod["metadata"]["name"] for pod in found if _runs(pod)}
        if not left:
            return
        for kind, pod in api.events(cluster, _pods(namespace, label), _SLICE_SECONDS):
            if kind == "DELETED" or not _runs(pod):
                left.discard(pod["metadata"]["name"])
            if not left:
                return
    raise pulumi.RunError(
        f"The pod '{min(left)}' of a training run that was ended still runs after {_END_SECONDS} "
        "s. If its node is lost, delete the pod: 'kubectl delete pod --force --namespace "
        f"{namespace} {min(left)}'. Then run the command again."
    )


def _jobs(namespace: str) -> str:
    return f"/apis/batch/v1/namespaces/{namespace}/jobs"


def _pods(namespace: str, label: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods?labelSelector={quote(label, safe='')}"


def _runs(pod: dict[str, Any]) -> bool:
    return pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
