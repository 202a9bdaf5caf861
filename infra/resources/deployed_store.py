"""The object store of a stack that is deployed, from what the stack says of itself."""

from ..cluster.clusters import Cluster
from ..cluster.description import Description
from .connection import Store


def of(told: Description, cluster: Cluster, namespace: str) -> Store:
    """Return the store in which a stack's buckets are.

    Args:
        told: the stack's description.
        cluster: where the stack is.
        namespace: of the stack.
    """
    return {
        "in_stack": told.store_in_stack,
        "endpoint": told.store_endpoint,
        "region": told.store_region,
        "cluster": cluster,
        "namespace": namespace,
        "secret": told.store_secret,
    }
