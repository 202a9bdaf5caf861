"""Which cluster is meant, and what is said when a kubeconfig leads to another one."""

from typing import NotRequired, TypedDict

import pulumi

SYSTEM = "kube-system"
"""What each cluster has once, and keeps as long as it lives."""


class Cluster(TypedDict):
    """A cluster, as a stack remembers it: an input of the dynamic resources."""

    context: str
    """Of the kubeconfig; empty for its current one."""
    uid: str
    """Of its namespace: the same however the cluster is reached. Empty: any."""
    server: str
    """URL of its API, for messages."""
    namespace: NotRequired[str]
    """Whose UID that is; `kube-system` unless it says so. A stack in a namespace that was given to
    it is known by that one: its user may see no other."""


def here(cluster: Cluster) -> str:
    """Return `cluster` as messages name it."""
    return f"'{cluster['server']}' (UID {cluster['uid']})"


def known_by(cluster: Cluster) -> str:
    """Return the namespace whose UID tells the cluster from others."""
    return cluster.get("namespace", SYSTEM)


def another(meant: Cluster, found: Cluster) -> pulumi.RunError:
    """Return the error of a kubeconfig that leads to `found` in place of the cluster `meant`."""
    if "namespace" in meant:
        return pulumi.RunError(
            f"The stack is in the namespace '{known_by(meant)}' of UID {meant['uid']}, at "
            f"'{meant['server']}'. That of this name at '{found['server']}', to which KUBECONFIG "
            f"leads, has the UID {found['uid']}. Set KUBECONFIG or kubernetes:context so that it "
            "leads to the stack's cluster. If the namespace was deleted and made anew, all that "
            "the stack had is gone: 'pulumi stack rm --force' forgets it."
        )
    context = f"context '{found['context']}'" if found["context"] else "current context"
    return pulumi.RunError(
        f"The stack is in the cluster {here(meant)}, but the {context} of KUBECONFIG leads to "
        f"{here(found)}. Set KUBECONFIG or kubernetes:context so that it leads to the stack's "
        "cluster. If that one is gone for good, 'pulumi stack rm --force' forgets the stack."
    )
