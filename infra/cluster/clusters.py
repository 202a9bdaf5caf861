"""Which cluster is meant, and what is said when a kubeconfig leads to another one."""

from typing import TypedDict

import pulumi


class Cluster(TypedDict):
    """A cluster, as a stack remembers it: an input of the dynamic resources."""

    context: str
    """Of the kubeconfig; empty for its current one."""
    uid: str
    """Of the namespace `kube-system`: the same however the cluster is reached. Empty: any."""
    server: str
    """URL of its API, for messages."""


def here(cluster: Cluster) -> str:
    """Return `cluster` as messages name it."""
    return f"'{cluster['server']}' (UID {cluster['uid']})"


def another(meant: Cluster, found: Cluster) -> pulumi.RunError:
    """Return the error of a kubeconfig that leads to `found` in place of the cluster `meant`."""
    context = f"context '{found['context']}'" if found["context"] else "current context"
    return pulumi.RunError(
        f"The stack is in the cluster {here(meant)}, but the {context} of KUBECONFIG leads to "
        f"{here(found)}. Set KUBECONFIG or kubernetes:context so that it leads to the stack's "
        "cluster. If that one is gone for good, 'pulumi stack rm --force' forgets the stack."
    )
