"""Where the stack's model lies now, before the stack is changed."""

from typing import NamedTuple

from store.urls import S3Url

from ..cluster import description
from ..cluster.clusters import Cluster
from ..resources import deployed_store
from ..resources.connection import Store
from ..resources.moving import is_elsewhere
from ..settings.settings import Settings


class ModelPlace(NamedTuple):
    """Where the versions of a model are published."""

    store: Store
    url: S3Url


def find(settings: Settings, cluster: Cluster) -> ModelPlace | None:
    """Return where the stack has its model now; None if it has no bucket that stays.

    What is in another store than the settings name is copied there before it is looked for.
    """
    told = description.find(cluster, settings.namespace)
    if told is None:
        return None
    now = deployed_store.of(told, cluster, settings.namespace)
    wanted = {**now, "in_stack": settings.store is None}
    if settings.store is not None:
        wanted |= {"endpoint": settings.store.endpoint, "region": settings.store.region}
    if told.output_bucket != settings.output_bucket and not is_elsewhere(
        {"store": now}, {"store": wanted}
    ):
        # Another name in the same store is another bucket, and begins empty.
        return None
    return ModelPlace(now, S3Url(told.output_bucket, f"models/{settings.model_name}"))
