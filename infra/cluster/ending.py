"""Ends training Jobs so that nothing of them is lost, and waits for what ends.

A suspended Job's pods are told to end: each uploads its log and its last checkpoint, and the next
attempt at the run goes on from there. The Job itself stays, and says that it was ended.
"""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pulumi

from . import api, names
from .clusters import Cluster
from .lost_pods import LostPods
from .pod_defaults import QUEUE_LABEL

_END_SECONDS = 120
"""How much longer than its grace a pod may take to end, on a node that has much to do."""
_SLICE_SECONDS = 5
"""After so long without news it is asked again: a pod may go between a question and a watch."""


def jobs(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    """Return the Jobs of a namespace."""
    return api.items(cluster, _jobs(namespace))


def suspend(cluster: Cluster, namespace: str, name: str) -> None:
    """Tell a Job to end its pods, and to make no others: out of its queue nobody starts it."""
    change = {"metadata": {"labels": {QUEUE_LABEL: None}}, "spec": {"suspend": True}}
    api.patch(cluster, f"{_jobs(namespace)}/{name}", change)


def delete(cluster: Cluster, namespace: str, name: str) -> None:
    """Delete a Job with its pods."""
    api.delete(cluster, f"{_jobs(namespace)}/{name}?propagationPolicy=Background")


def of_job(name: str) -> str:
    """Return the label of the pods of a Job."""
    return f"batch.kubernetes.io/job-name={name}"


def pods(cluster: Cluster, namespace: str, label: str) -> list[dict[str, Any]]:
    """Return the pods with a label."""
    return api.items(cluster, _pods(namespace, label))


def await_pods(cluster: Cluster, namespace: str, label: str, say: Callable[[str], None]) -> None:
    """Return when no pod with a label runs any more: their Jobs were suspended or deleted.

    One whose node is lost counts as ended; `say` gets a sentence about it.

    Raises:
        pulumi.RunError: one does not end.
    """
    lost = LostPods(cluster, namespace)
    left: set[str] = set()
    began, longest = time.monotonic(), _END_SECONDS
    while time.monotonic() < began + longest:
        found = pods(cluster, namespace, label)
        _give_up(lost, found, say)
        longest = max([longest, *(_END_SECONDS + _grace_seconds(pod) for pod in found)])
        left = {pod["metadata"]["name"] for pod in found if _runs(pod)}
        if not left:
            return
        for kind, pod in api.events(cluster, _pods(namespace, label), _SLICE_SECONDS):
            if kind == "DELETED" or not _runs(pod):
                left.discard(pod["metadata"]["name"])
            if not left:
                return
    raise pulumi.RunError(
        f"The pod '{min(left)}', which was told to end, still runs after {longest} s. Look at its "
        f"node: 'kubectl get pod --output wide --namespace {namespace} {min(left)}'. Then run the "
        "command again."
    )


def await_stack(cluster: Cluster, namespace: str, say: Callable[[str], None]) -> None:
    """Return when the stack's pods and Deployments are gone, which were deleted.

    A Deployment of the same name that is made before would be taken for the one that goes.

    Args:
        cluster: where it is.
        namespace: where it is in the cluster.
        say: gets a sentence about what is waited for.

    Raises:
        pulumi.RunError: one of them stays.
    """
    label = f"{names.PART_OF_LABEL}={names.PART_OF}"
    if running := sorted(
        pod["metadata"]["name"] for pod in pods(cluster, namespace, label) if _runs(pod)
    ):
        say(f"Pods that end are waited for: {', '.join(running)}.")
    await_pods(cluster, namespace, label, say)
    # Kubernetes takes them away a moment after their pods.
    deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    path = f"{deployments}?labelSelector={quote(label, safe='')}"
    end = time.monotonic() + _END_SECONDS
    while left := api.items(cluster, path):
        if time.monotonic() > end:
            name = left[0]["metadata"]["name"]
            raise pulumi.RunError(
                f"The Deployment '{name}' is still there {_END_SECONDS} s after its pods: 'kubectl "
                f"get deployment --output yaml --namespace {namespace} {name}' says in "
                "'finalizers' who keeps it. Then run the command again."
            )
        for kind, _ in api.events(cluster, path, _SLICE_SECONDS):
            if kind == "DELETED":
                break


def give_up_lost(cluster: Cluster, namespace: str, say: Callable[[str], None]) -> None:
    """Give up the stack's pods on lost nodes; `say` gets a sentence about each.

    A namespace that was given may hold those of others.
    """
    found = pods(cluster, namespace, f"{names.PART_OF_LABEL}={names.PART_OF}")
    _give_up(LostPods(cluster, namespace), found, say)


def _give_up(lost: LostPods, found: list[dict[str, Any]], say: Callable[[str], None]) -> None:
    for sentence in lost.give_up(found):
        say(f"{sentence[0].upper()}{sentence[1:]}")


def _jobs(namespace: str) -> str:
    return f"/apis/batch/v1/namespaces/{namespace}/jobs"


def _pods(namespace: str, label: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods?labelSelector={quote(label, safe='')}"


def _grace_seconds(pod: dict[str, Any]) -> int:
    return int(pod.get("spec", {}).get("terminationGracePeriodSeconds") or 0)


def _runs(pod: dict[str, Any]) -> bool:
    return pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
