"""The namespace of a stack, which is the stack's own."""

import pulumi

from . import api, names
from .clusters import Cluster


def require_own(cluster: Cluster, namespace: str, stack: str) -> None:
    """Raise if `namespace` exists and isn't this stack's: `pulumi destroy` would delete it."""
    document = api.get(cluster, f"/api/v1/namespaces/{namespace}")
    if document is None:
        return
    owner = document["metadata"].get("labels", {}).get(names.STACK_LABEL)
    if owner != stack:
        whose = f"belongs to the stack '{owner}'" if owner else "was not made by this stack"
        raise pulumi.RunError(
            f"The namespace '{namespace}' exists and {whose}. "
            "Set dlstack:namespace to a name that is free."
        )
