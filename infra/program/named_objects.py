"""Objects of an administrator that the configuration names: are they there?

Without its ServiceAccount or PriorityClass no pod is made, and an old pod may have ended by then.
"""

import pulumi

from ..cluster import api
from ..cluster.clusters import Cluster
from ..settings.settings import Settings


def lacking(settings: Settings, cluster: Cluster) -> str:
    """Return which one is missing; empty if all are there, or nobody may look.

    One that a pod can do without is a warning.
    """
    pods, namespace = settings.pods, settings.namespace
    classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
    if pods.priority_class and _is_missing(cluster, f"{classes}/{pods.priority_class}"):
        return _told("priorityClass", pods.priority_class, "PriorityClass")
    place = f"/api/v1/namespaces/{namespace}"
    # Nothing can be in a namespace that is still to be made.
    if not (pods.service_account or pods.image_pull_secrets) or _is_missing(cluster, place):
        return ""
    account = pods.service_account
    if account and _is_missing(cluster, f"{place}/serviceaccounts/{account}"):
        return _told("serviceAccount", account, f"ServiceAccount in the namespace '{namespace}'")
    for name in pods.image_pull_secrets:
        if _is_missing(cluster, f"{place}/secrets/{name}"):
            pulumi.log.warn(
                f"dlstack:imagePullSecrets names '{name}', and there is no such Secret in the "
                f"namespace '{namespace}': images that need it can't be pulled."
            )
    return ""


def _told(key: str, name: str, kind: str) -> str:
    return (
        f"dlstack:{key} is '{name}', and there is no such {kind}. Have it made, or set another one."
    )


def _is_missing(cluster: Cluster, path: str) -> bool:
    try:
        return api.get(cluster, path) is None
    except api.Forbidden:
        return False
