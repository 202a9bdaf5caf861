"""The namespace of a stack, which is the stack's own: whose it is, and how it is marked."""

from collections.abc import Mapping
from typing import Any

import pulumi

from . import api, names
from .clusters import Cluster


def require_own(
    cluster: Cluster, namespace: str, stack: str, stack_id: str, *, known: bool
) -> bool:
    """Raise if `namespace` isn't this stack's: `pulumi destroy` would delete it.

    Args:
        cluster: where it is.
        namespace: its name.
        stack: `<project>-<stack>`.
        stack_id: what marks what is the stack's.
        known: whether the stack's state has it here: then the stack's name is mark enough.

    Returns:
        Whether its mark was taken away, and has to be put back (`mark`).

    Raises:
        pulumi.RunError: it is another stack's or nobody's, or is being deleted.
    """
    document = api.get(cluster, _path(namespace))
    if document is None:
        return False
    labels = document["metadata"].get("labels") or {}
    config_map = api.get(cluster, f"{_path(namespace)}/configmaps/{names.DESCRIPTION}") or {}
    described = config_map.get("data") or {}
    owner = labels.get(names.STACK_ID_LABEL) or described.get("stackId")
    if owner not in (None, stack_id):
        name = labels.get(names.STACK_LABEL) or described.get("stack") or "without a name"
        raise pulumi.RunError(
            f"The namespace '{namespace}' belongs to another stack, '{name}' with the id {owner}; "
            f"this one has the id {stack_id}. Set dlstack:namespace and dlstack:bucketPrefix to "
            "names that are free. Only if that stack is this one and its state is lost, take over "
            f"all it has: 'pulumi config set dlstack:stackId {owner}'."
        )
    if since := document["metadata"].get("deletionTimestamp"):
        raise _terminating(namespace, since, document)
    name = labels.get(names.STACK_LABEL)
    if owner is None and not (known and name == stack):
        if name:
            raise pulumi.RunError(
                f"The namespace '{namespace}' was made for the stack '{name}' by a dlstack of a "
                "time before stacks had ids. Destroy that stack with the checkout that made it, or "
                "set dlstack:namespace and dlstack:bucketPrefix to names that are free."
            )
        raise pulumi.RunError(
            f"The namespace '{namespace}' exists and does not say that it is this stack's. Set "
            "dlstack:namespace to a name that is free. Only if it is this stack's, and lost all "
            f"its marks: 'kubectl label namespace {namespace} {names.STACK_ID_LABEL}={stack_id}' "
            f"and 'pulumi config set dlstack:stackId {stack_id}'."
        )
    return any(labels.get(key) != value for key, value in names.marks(stack, stack_id).items())


def mark(cluster: Cluster, namespace: str, stack: str, stack_id: str) -> None:
    """Put the stack's mark on its namespace, if that is there."""
    api.patch(cluster, _path(namespace), {"metadata": {"labels": names.marks(stack, stack_id)}})


def _terminating(namespace: str, since: str, document: Mapping[str, Any]) -> pulumi.RunError:
    conditions = document.get("status", {}).get("conditions", [])
    held = "; ".join(
        one["message"].rstrip(".") for one in conditions if one.get("status") == "True"
    )
    return pulumi.RunError(
        f"The namespace '{namespace}' is being deleted since {since}"
        f"{held and f' ({held})'}. Wait for its end, then run the command again: "
        f"'kubectl wait --for=delete namespace/{namespace} --timeout=5m'."
    )


def _path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}"
