"""The data set where it is not on this machine: what the last `pulumi up` has put in the bucket."""

from collections.abc import Mapping
from typing import NamedTuple

import pulumi

from store import folders
from store.errors import NoObject, StoreError

from ..cluster import description
from ..cluster.clusters import Cluster
from ..resources import connection, deployed_store
from ..settings.settings import Settings


class KeptData(NamedTuple):
    """A data set that lies in the stack's bucket."""

    folder: str
    """`dlstack:dataDir` as it was when it was put there; empty: none was."""
    digest: str
    """What its index is called (`store.folders`)."""


def find(settings: Settings, cluster: Cluster) -> KeptData:
    """Return which data set the stack says that its bucket has."""
    told = description.find(cluster, settings.namespace)
    return KeptData(told.data_dir, told.data_digest) if told else KeptData("", "")


def read(settings: Settings, cluster: Cluster) -> Mapping[str, str]:
    """Return path -> SHA-256 of the data set that is in the bucket, and say so.

    Raises:
        pulumi.RunError: it is none of the folder that is configured, or can't be looked at.
    """
    told = description.find(cluster, settings.namespace)
    if told is None or not told.data_digest or told.data_dir != settings.data_dir:
        raise pulumi.RunError(
            f"dlstack:dataDir '{settings.data_dir}' is not a folder. Set it to the folder of the "
            "data set, relative to that of Pulumi.yaml ('make data' fetches MNIST into "
            "data/mnist, 'make up' into ~/.dlstack/cache/mnist)."
        )
    problem = f"dlstack:dataDir '{settings.data_dir}' is not on this machine"
    try:
        client = connection.connect(deployed_store.of(told, cluster, settings.namespace))
        url = folders.index(told.data_bucket, told.data_digest)
        found = {one.path: one.sha256 for one in folders.entries(client, url)}
    except NoObject as error:
        raise pulumi.RunError(
            f"{problem}, nor in the bucket. Run 'pulumi up' where the data is."
        ) from error
    except StoreError as error:
        raise pulumi.RunError(
            f"{problem}, and the bucket that has it can't be looked at. {error}"
        ) from error
    pulumi.log.info(
        f"{problem}; unchanged: {len(found):,} file{'' if len(found) == 1 else 's'} that an "
        "earlier 'pulumi up' has put in the bucket, which may have the only copy. 'python -m infra "
        "download VERSION DIR --data' fetches the data of a version."
    )
    return found
