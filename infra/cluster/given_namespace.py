"""A namespace that an administrator has made for a stack: whose it is, and how it is marked.

The stack neither makes, changes nor deletes it. Its mark is what it says of itself there anyway,
the ConfigMap `stack`, which is made before anything else.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pulumi

from . import api, names
from .clusters import Cluster

_OWN_NAMES = {
    "apis/apps/v1/{}/deployments": (names.OBJECT_STORE, names.TENSORBOARD, names.PREDICTION),
    "api/v1/{}/services": (
        *(names.OBJECT_STORE, names.TENSORBOARD, names.PREDICTION),
        names.WORKERS,
    ),
    "api/v1/{}/persistentvolumeclaims": (names.OBJECT_STORE,),
    "api/v1/{}/configmaps": (names.DESCRIPTION, names.SERVED, names.MODEL_CHECK, names.MONITOR),
    # Pods take variables from the last two Secrets if they are there.
    "api/v1/{}/secrets": (names.OBJECT_STORE, names.PROXY, names.SECRET_ENV),
    "apis/networking.k8s.io/v1/{}/networkpolicies": (
        *(names.OBJECT_STORE, names.TENSORBOARD, names.PREDICTION),
        *(names.TRAINING, names.WORKERS),
    ),
}
"""Collection -> fixed names of the stack's objects in it: what is there counts as its own."""


def require_free(
    cluster: Cluster, namespace: str, stack: str, stack_id: str, *, known: bool
) -> bool:
    """Raise if `namespace` is another stack's, or has what the stack would take for its own.

    Args:
        cluster: where it is.
        namespace: its name.
        stack: `<project>-<stack>`.
        stack_id: what marks what is the stack's.
        known: whether the stack's state has it here.

    Returns:
        Whether the stack's mark is missing, and has to be put there (`mark`).
    """
    found = api.get(cluster, _path(namespace)) or {}
    if since := (found.get("metadata") or {}).get("deletionTimestamp"):
        raise pulumi.RunError(
            f"The namespace '{namespace}' is being deleted since {since}. Ask whoever made it for "
            "another one, and set dlstack:namespace."
        )
    owner = _owner(cluster, namespace)
    if owner.get("stackId") not in (None, stack_id):
        raise pulumi.RunError(
            f"The namespace '{namespace}' holds another stack, '{owner.get('stack', '')}' with the "
            f"id {owner['stackId']}; this one has the id {stack_id}. Each stack needs a namespace "
            "of its own: set dlstack:namespace. Only if that stack is this one and its state is "
            f"lost, take over all it has: 'pulumi config set dlstack:stackId {owner['stackId']}'."
        )
    if owner.get("stackId") is None and not known:
        for what in _foreign(cluster, namespace):
            raise pulumi.RunError(
                f"The namespace '{namespace}' has {what}, which is not this stack's: it would be "
                "changed, and deleted with the stack. Set dlstack:namespace to one that nothing "
                "else uses, or remove that."
            )
    return owner.get("stackId") is None


def mark(cluster: Cluster, namespace: str, stack: str, stack_id: str) -> None:
    """Say in `namespace` whose it is, unless it is said already."""
    document = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names.DESCRIPTION,
            "labels": names.labels(names.DESCRIPTION, namespace),
        },
        "data": {"stack": stack, "stackId": stack_id},
    }
    api.create(cluster, f"{_path(namespace)}/configmaps", document)


def unmark(cluster: Cluster, namespace: str, stack_id: str) -> None:
    """Take the stack's mark away, of which Pulumi may not know: a first `up` may have failed."""
    if _owner(cluster, namespace).get("stackId") == stack_id:
        api.delete(cluster, f"{_path(namespace)}/configmaps/{names.DESCRIPTION}")


def _owner(cluster: Cluster, namespace: str) -> Mapping[str, str]:
    found = api.get(cluster, f"{_path(namespace)}/configmaps/{names.DESCRIPTION}") or {}
    return found.get("data") or {}


def _foreign(cluster: Cluster, namespace: str) -> Iterator[str]:
    """Yield what has a name of the stack's objects, and none of their labels."""
    for collection, own_names in _OWN_NAMES.items():
        path = "/" + collection.format(f"namespaces/{namespace}")
        for name in own_names:
            found: Any = api.get(cluster, f"{path}/{name}")
            if found and not _is_ours(found["metadata"]):
                yield f"a {found.get('kind', collection.rpartition('/')[2])} '{name}'"


def _is_ours(metadata: Mapping[str, Any]) -> bool:
    return (metadata.get("labels") or {}).get(names.PART_OF_LABEL) == names.PART_OF


def _path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}"
