"""Takes away what nothing of a stack needs any more, by what cluster, state and buckets say.

For `python -m infra prune`, and for `dlstack:keepVersions` at the end of `pulumi up`.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from store import bucket_marks, contents, prune_mark, pruning
from store.client import Client
from store.errors import BucketTaken
from store.objects import changed_at
from store.pruning import Needed, Unneeded
from store.urls import S3Url

from ..cluster import api, description, names, served
from ..cluster.clusters import Cluster
from ..cluster.jobs import is_active, is_of_a_run, pod_annotations
from ..cluster.names import RUN_HASH_ANNOTATION
from ..cluster.served import Served, of_template
from ..run.run_hash import short
from .connection import Store
from .ownership import is_anothers, whose

_FOLDER = re.compile(r"--(?:code|data)_url=s3://[^/]+/folders/([0-9a-f]{64})")


def needed(
    cluster: Cluster,
    namespace: str,
    *,
    folders: Iterable[str] = (),
    versions: Iterable[Served] = (),
    ended: bool = True,
) -> Needed:
    """Return what the stack of a namespace needs now.

    Args:
        cluster: where it is.
        namespace: its own.
        folders: digests of code and data that the next Job reads, by the state.
        versions: those that the state names.
        ended: also what Jobs made that have ended. An `up` deletes those of other runs at its very
            end, and its state names what the one that is left has published.
    """
    jobs = [job for job in _items(cluster, f"apis/batch/v1/namespaces/{namespace}/jobs")]
    jobs = [job for job in jobs if is_of_a_run(job) and (ended or is_active(job))]
    kept = {*versions, *_served(cluster, namespace)}
    told = description.find(cluster, namespace)
    if told is not None and told.pinned_version is not None:
        kept.add(Served(told.model_name, told.pinned_version))
    words = {word for job in jobs for word in _command(job)}
    read = {found[1] for word in words if (found := _FOLDER.fullmatch(word))}
    return Needed(
        versions=frozenset((one.model_name, one.version) for one in kept),
        runs=frozenset(short(pod_annotations(job)[RUN_HASH_ANNOTATION]) for job in jobs),
        identities=frozenset(filter(None, [told.model_identity if told else ""])),
        folders=frozenset({*folders, *read} - {""}),
        trains=any(map(is_active, jobs)),
    )


def _served(cluster: Cluster, namespace: str) -> set[Served]:
    """Return what serves, or is about to: of Deployments, of their pods, of replicas of before."""
    found = {served.find(cluster, namespace)}
    apps, core = f"apis/apps/v1/namespaces/{namespace}", f"api/v1/namespaces/{namespace}"
    for one in _items(cluster, f"{apps}/deployments"):
        found.add(of_template(one["spec"]["template"]))
    for one in _items(cluster, f"{apps}/replicasets"):
        if one["spec"].get("replicas"):
            found.add(of_template(one["spec"]["template"]))
    for pod in _items(cluster, f"{core}/pods"):
        # One that ends fetches nothing any more.
        if not pod["metadata"].get("deletionTimestamp"):
            found.add(of_template(pod))
    return {one for one in found if one is not None}


def _items(cluster: Cluster, path: str) -> list[dict[str, Any]]:
    return api.items(cluster, f"/{path}")


def _command(job: Mapping[str, Any]) -> list[str]:
    spec = job["spec"]["template"]["spec"]
    return [
        str(word)
        for container in spec.get("containers", ())
        if container.get("name") == names.TRAINING
        for word in (*container.get("command", ()), *container.get("args", ()))
    ]


def look(
    client: Client,
    store: Store,
    output_bucket: str,
    data_bucket: str,
    keep: int,
    ask: Callable[[], Needed],
    model: str | None = None,
    goes_on: Callable[[], None] = lambda: None,
    given: Collection[str] = (),
) -> Unneeded:
    """Return what can go of a stack's buckets.

    Args:
        client: of `store`.
        store: with the stack's id.
        output_bucket, data_bucket: names.
        keep: how many of the newest versions of each model stay.
        ask: returns what is needed now.
        model: only versions of this one; None: of all.
        goes_on: called again and again meanwhile.
        given: names of buckets that somebody else has made.

    Raises:
        BucketTaken: a bucket is another stack's, or was given and is not this one's.
    """
    since: dict[str, datetime] = {}
    for bucket in (output_bucket, data_bucket):
        mark = bucket_marks.find(client, bucket)
        if is_anothers(mark, store):
            raise BucketTaken(
                f"The bucket '{bucket}' belongs to {whose(mark) if mark else 'nobody'}: nothing "
                "of it is deleted."
            )
        if bucket in given:
            began = changed_at(client, S3Url(bucket, bucket_marks.KEY))
            if mark is None or began is None:
                raise BucketTaken(
                    f"The bucket '{bucket}' was there before this stack, and does not bear its "
                    f"mark '{bucket_marks.KEY}': nobody can tell what of it is the stack's, and "
                    "nothing is deleted. 'pulumi up --refresh' puts the mark there again."
                )
            since[bucket] = began
    return pruning.look(
        client,
        output_bucket=output_bucket,
        data_bucket=data_bucket,
        keep=keep,
        needed=ask(),
        now=datetime.now(UTC),
        model=model,
        goes_on=goes_on,
        given=since,
    )


def prune(
    client: Client,
    store: Store,
    output_bucket: str,
    data_bucket: str,
    keep: int,
    ask: Callable[[], Needed],
    model: str | None = None,
    given: Collection[str] = (),
) -> Unneeded:
    """Delete what can go; return what went. Args and errors as for `look`."""
    with prune_mark.held(client, data_bucket) as turn:
        buckets = output_bucket, data_bucket
        found = look(client, store, *buckets, keep, ask, model, turn.renew, given)
        pruning.delete(client, found, turn)
    return found


def keeps_versions(client: Client, buckets: Iterable[str]) -> list[str]:
    """Return those of the buckets that keep what is deleted, as older versions of objects."""
    return [bucket for bucket in buckets if contents.is_versioned(client, bucket)]
