"""Asks the cluster why something does not come up: `troubles` over what it tells now."""

from collections.abc import Mapping
from typing import Any

from . import api, troubles
from .clusters import Cluster
from .messages import Trouble


def deployment(cluster: Cluster, document: Mapping[str, Any]) -> Trouble | None:
    """Return what keeps the present template of a Deployment from serving, as it is now."""
    namespace = document["metadata"]["namespace"]
    return troubles.of_deployment(
        document,
        api.items(cluster, f"/apis/apps/v1/namespaces/{namespace}/replicasets"),
        api.items(cluster, f"/api/v1/namespaces/{namespace}/pods"),
        api.items(cluster, f"/api/v1/namespaces/{namespace}/events"),
        api.items(cluster, f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"),
    )


def job(cluster: Cluster, document: Mapping[str, Any]) -> Trouble | None:
    """Return what keeps the pods of a Job from running, as it is now."""
    namespace = document["metadata"]["namespace"]
    return troubles.of_job(
        document,
        api.items(cluster, f"/api/v1/namespaces/{namespace}/pods"),
        api.items(cluster, f"/api/v1/namespaces/{namespace}/events"),
    )
