"""Whether a store of the user's own can be used for what is about to begin.

It is asked before anything is made or ended. Of the stack's own store nothing is asked here: this
very `up` may have to start it, or to let it grow (`resources.other_runs`).
"""

import pulumi

from store import bucket_marks, buckets
from store.client import connect
from store.errors import Forbidden, NoBucket, StoreError, WrongCredentials

from ..cluster import description
from ..cluster.clusters import Cluster
from ..settings.settings import Settings
from .plan import Plan


def problem(settings: Settings, planned: Plan, cluster: Cluster) -> str:
    """Return why the configured store can't be used; empty if it can, or nobody needs it now.

    In a preview, what credentials of this shell may not do is a warning: others may run the `up`.
    """
    store = settings.store
    if store is None or not _is_needed(settings, planned, cluster):
        return ""
    try:
        client = connect(store, direct=False)
        buckets.require_answer(client)
        for bucket in (settings.output_bucket, settings.data_bucket):
            try:
                bucket_marks.find(client, bucket)
            except NoBucket:
                # It is about to be made; one that is given is told by its resource.
                continue
    except (Forbidden, WrongCredentials) as error:
        if pulumi.runtime.is_dry_run() and not store.access_key:
            pulumi.log.warn(str(error))
            return ""
        return str(error)
    except StoreError as error:
        return str(error)
    return ""


def _is_needed(settings: Settings, planned: Plan, cluster: Cluster) -> bool:
    """Say whether something is about to be written to the store."""
    copies = planned.imported is not None and not planned.imported.seen
    return planned.makes_job or copies or description.find(cluster, settings.namespace) is None
