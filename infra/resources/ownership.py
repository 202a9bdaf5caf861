"""Which buckets are a stack's own: those that bear its mark (`store.bucket_marks`).

A bucket that is there already is taken over only if that can hurt nobody.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from store import bucket_marks, buckets, contents
from store.bucket_marks import BucketMark
from store.client import Client
from store.dialect import OWN_PREFIX
from store.errors import BucketTaken, NoBucket, WrongCredentials

from ..cluster import api
from . import connection
from .connection import Seen, Store
from .engine import tell

_CLOCKS_DIFFER_BY = timedelta(minutes=1)


def take(
    client: Client, bucket: str, store: Store, *, known: bool, given: bool = False
) -> BucketMark:
    """Return the stack's mark in a bucket; create and mark the bucket as far as that is needed.

    Args:
        client: of `store`.
        bucket: its name.
        store: the object store, with the stack's id.
        known: the bucket is the stack's by its state, which may be older than marks are.
        given: somebody else has made it, for the stack to use.

    Raises:
        BucketTaken: the bucket is another stack's or, if it was not given, may be.
        NoBucket: it was given, and is not there.
    """
    owner: dict[str, Any] = {"stack_id": store["stack_id"], "stack": store["stack"]}
    try:
        mark = bucket_marks.find(client, bucket)
    except NoBucket as error:
        if given:
            raise NoBucket(
                f"The bucket '{bucket}' is not there, or not for these credentials. Have it made, "
                "or correct dlstack:dataBucket and dlstack:outputBucket: the stack makes none that "
                "they name."
            ) from error
        buckets.create(client, bucket)
        return bucket_marks.put(client, bucket, **owner)
    if mark is None:
        if not (known or given or store["in_stack"] or _was_cut_short(client, bucket, store)):
            raise BucketTaken(
                f"The bucket '{bucket}' exists already and was not made by this stack. Set "
                "dlstack:bucketPrefix to another prefix. Or delete the bucket, if nobody needs "
                "what it holds."
            )
        return bucket_marks.put(client, bucket, **owner)
    if is_anothers(mark, store):
        other = "Name another bucket" if given else "Set dlstack:bucketPrefix to another prefix"
        raise BucketTaken(
            f"The bucket '{bucket}' belongs to {whose(mark)}. {other}. If that is this very stack, "
            "and its state was lost, 'pulumi config set "
            f"dlstack:stackId {mark.stack_id}' takes it over."
        )
    return mark


def look_into(bucket: str, store: Store, look: Callable[[Client], Seen]) -> Seen | None:
    """Return what `look` sees of the stack's bucket; None if nothing can be known of it now.

    Raises:
        Gone: the bucket isn't there, or is another stack's by now.
    """

    def look_at_own(client: Client) -> Seen:
        if is_anothers(bucket_marks.find(client, bucket), store):
            raise NoBucket(f"The bucket '{bucket}' is another stack's by now.")
        return look(client)

    try:
        return connection.read(store, look_at_own)
    except WrongCredentials:
        # They were revoked before the `up` that brings the new ones.
        tell("Not looked at: the object store refuses the keys of the last 'pulumi up'.")
        return None


def is_anothers(mark: BucketMark | None, store: Store) -> bool:
    """Say whether a bucket's mark is that of another stack. In a stack's own store none is."""
    return not store["in_stack"] and mark is not None and mark.stack_id != store.get("stack_id")


def whose(mark: BucketMark) -> str:
    """Return whose mark it is, for a message."""
    return f"the stack '{mark.stack}' (id {mark.stack_id}, since {mark.created})"


def _was_cut_short(client: Client, bucket: str, store: Store) -> bool:
    """Say whether the bucket can only be one whose creation by this stack was cut short.

    Killed at the wrong moment, `pulumi up` leaves an empty bucket without a mark, or one with what
    it tried the store with.
    """
    held = contents.look(client, bucket)
    created = buckets.created_at(client, bucket)
    others = [version for version in held.versions if not version.key.startswith(OWN_PREFIX)]
    if others or held.uploads or created is None:
        return False
    namespace: Mapping[str, Any] | None = api.get(
        store["cluster"], f"/api/v1/namespaces/{store['namespace']}"
    )
    if namespace is None:
        return False
    since = datetime.fromisoformat(namespace["metadata"]["creationTimestamp"])
    return created > since - _CLOCKS_DIFFER_BY
