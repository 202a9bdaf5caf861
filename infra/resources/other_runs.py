"""Ends the training runs that are not wanted any more, before the one that is wanted begins.

Two would share the room that is for one, and two of the same run would write to the same place. And
it ends none for one that could not keep what it makes: the store is tried before. The path of this
module is part of stacks' state.
"""

from collections.abc import Sequence
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from store import dialect

from ..cluster import ending, names
from ..cluster.clusters import Cluster
from ..cluster.jobs import is_active, is_of_a_run
from . import engine
from .connection import Store, connect
from .provider import Provider, changed, inputs_of


class _OtherRunsProvider(Provider):
    may_be_empty = frozenset({"keep"})

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        # Whether there are others is told by the cluster, at each `up`.
        changes = bool(changed(olds, news, "namespace", "keep")) or bool(news["others"])
        return DiffResult(changes=changes, replaces=[])

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult("other-runs", _end(props, known=""))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_, inputs_of(props))

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_end(news, known=olds["keep"]))

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        # Of a stack that goes: what still trains would write to its buckets while they are emptied.
        _end({**props, "keep": ""}, known="")
        all_pods = f"app.kubernetes.io/name={names.TRAINING}"
        ending.await_pods(props["cluster"], props["namespace"], all_pods, engine.tell)
        # The namespace can't go before they do.
        ending.give_up_lost(props["cluster"], props["namespace"], engine.tell)


def _end(props: dict[str, Any], *, known: str) -> dict[str, Any]:
    """End all Jobs but `keep`, and delete them, but for the one that Pulumi knows.

    That one is Pulumi's to delete: should this `up` fail, the state still says that it is there.

    Raises:
        StoreError: `keep` is another one, and can't write to the output bucket. Nothing is ended.
    """
    cluster, namespace, keep = props["cluster"], props["namespace"], props["keep"]
    if keep and keep != known:
        dialect.require_writable(connect(props["store"]), props["output_bucket"])
    others = [
        job
        for job in ending.jobs(cluster, namespace)
        if is_of_a_run(job) and job["metadata"]["name"] != keep
    ]
    active = [str(job["metadata"]["name"]) for job in others if is_active(job)]
    for name in active:
        engine.tell(f"Ending '{name}'. Its log and last checkpoint stay in the bucket.")
        ending.suspend(cluster, namespace, name)
    # Without another run nobody waits for their room.
    for name in active if keep else ():
        ending.await_pods(cluster, namespace, ending.of_job(name), engine.tell)
    for job in others:
        if (name := str(job["metadata"]["name"])) != known:
            ending.delete(cluster, namespace, name)
    return inputs_of(props)


class OtherRuns(Resource, module="training", name="OtherRuns"):
    """The end of all training runs of the stack but one."""

    def __init__(
        self,
        name: str,
        *,
        cluster: Cluster,
        namespace: pulumi.Input[str],
        keep: str,
        others: Sequence[str],
        output_bucket: pulumi.Input[str],
        store: Store,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare which run is wanted.

        Args:
            name: logical name.
            cluster: where the Jobs are.
            namespace: of the Jobs.
            keep: name of the Job that is wanted; empty for none.
            others: names of the others that the cluster has now.
            output_bucket: to which the one that is wanted writes.
            store: of this bucket.
            opts: resource options.
        """
        props = {
            "cluster": cluster,
            "namespace": namespace,
            "keep": keep,
            "others": list(others),
            "output_bucket": output_bucket,
            "store": store,
        }
        super().__init__(_OtherRunsProvider(), name, props, opts)
