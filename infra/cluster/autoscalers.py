"""Who else says how many pods a Deployment has, and whether the cluster can tell their load."""

from collections.abc import Mapping

import pulumi

from . import api
from .clusters import Cluster

_METRICS = "/apis/metrics.k8s.io/v1beta1"


def of_others(
    cluster: Cluster, namespace: str, deployment: str, own: Mapping[str, str]
) -> str | None:
    """Return the name of somebody else's HorizontalPodAutoscaler of a Deployment, KEDA's for one.

    Args:
        cluster: where both are.
        namespace: of both.
        deployment: its name.
        own: labels of the stack's own autoscaler.
    """
    try:
        found = api.items(cluster, _path(namespace))
    except api.NoAnswer:
        raise
    except pulumi.RunError:
        # Who may not look at autoscalers has none.
        return None
    for one in found:
        target, metadata = one["spec"]["scaleTargetRef"], one["metadata"]
        if (target["kind"], target["name"]) == ("Deployment", deployment) and not (
            own.items() <= metadata.get("labels", {}).items()
        ):
            return str(metadata["name"])
    return None


def remove_own(cluster: Cluster, namespace: str, deployment: str, own: Mapping[str, str]) -> None:
    """Delete the stack's own HorizontalPodAutoscaler of a Deployment, which has the same name.

    Args:
        cluster: where both are.
        namespace: of both.
        deployment: its name.
        own: labels of the stack's own autoscaler.
    """
    path = f"{_path(namespace)}/{deployment}"
    found = api.get(cluster, path)
    if found is not None and own.items() <= found["metadata"].get("labels", {}).items():
        api.delete(cluster, path)


def has_metrics(cluster: Cluster) -> bool:
    """Say whether the cluster measures what pods use; without, no load makes more of them."""
    try:
        return api.get(cluster, _METRICS) is not None
    except api.NoAnswer:
        # Its metrics server is about to start.
        return False


def _path(namespace: str) -> str:
    return f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers"
