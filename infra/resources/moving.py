"""The way of a bucket from one object store to another one, with all that it holds."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from store import bucket_marks, own_objects
from store.bucket_marks import BucketMark
from store.client import Client
from store.copying import copy_bucket, missing
from store.errors import BucketTaken, Changed, NoBucket, StoreError
from store.objects import StoredObject, changed_at, list_objects
from store.urls import S3Url

from ..cluster import ending
from .connection import Store, connect
from .engine import in_this_call, tell
from .foreign_objects import count
from .ownership import is_anothers, take
from .provider import changed


def is_elsewhere(olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
    """Say whether `news` names another object store, or the same one by another address.

    The in-stack store stays the same when a node's address or port changes.
    """
    if not changed(olds, news, "store"):
        return False
    old, new = olds["store"], news["store"]
    if changed(old, new, "in_stack"):
        return True
    return not old["in_stack"] and bool(changed(old, new, "endpoint", "region"))


def move(olds: Mapping[str, Any], news: Mapping[str, Any]) -> BucketMark:
    """Return the mark of the new bucket, which has all that the old one has, and maybe is it.

    The same bucket under another address bears the same mark: then nothing is copied, and the old
    address need not work any more.

    Raises:
        StoreError: the old store does not answer, or the new bucket is somebody else's, or
            something writes to the old bucket.
    """
    old, new = olds["store"], news["store"]
    target = connect(new)
    try:
        source = connect(old)
        known = _known(source, olds, new)
    except NoBucket:
        tell(
            f"The bucket '{olds['bucket']}' of {_named(old)} is gone: nothing of it is copied.",
            stays=True,
        )
        return _take(target, news)
    except StoreError as error:
        there = _there(target, news["bucket"])
        if there is not None and there.bucket_id == olds.get("bucket_id"):
            return there
        if news["force_destroy"]:
            tell(f"Nothing of the bucket '{olds['bucket']}' was copied. {error}", stays=True)
            return _take(target, news)
        raise StoreError(
            f"What the bucket '{olds['bucket']}' of {_named(old)} holds can't be copied to "
            f"{_named(new)}. {error} Then run 'pulumi up' again, or set the dlstack:s3 keys back. "
            "If that store is gone for good, set dlstack:forceDestroy to true to go on without "
            "what it held."
        ) from error
    mark = _take(target, news)
    names = (source, olds["bucket"], target, news["bucket"])
    chosen = _chosen(olds)
    lacking = missing(*names, but=bucket_marks.KEY, chosen=chosen)
    # A bucket that was copied by hand, mark included, may be behind by now.
    if mark.bucket_id == known.bucket_id and not lacking:
        return mark
    _require_no_writer(new)
    if news.get("given"):
        _require_nothing_overwritten(target, news["bucket"], lacking)
    try:
        copied = copy_bucket(
            *names,
            but=bucket_marks.KEY,
            # From several threads.
            tell=in_this_call(lambda line: tell(f"Bucket '{news['bucket']}': {line}")),
            chosen=chosen,
        )
    except Changed as error:
        raise StoreError(f"{error} Nothing is lost: the old store still serves.") from error
    _tell_what_stays(source, olds, new, copied)
    return mark


def _chosen(
    olds: Mapping[str, Any],
) -> Callable[[Iterable[StoredObject]], Iterable[StoredObject]]:
    """Return what chooses the objects that go along: of a bucket that somebody else has made, those
    that dlstack has put there."""
    return own_objects.among if olds.get("given") else lambda entries: entries


def _require_nothing_overwritten(
    target: Client, bucket: str, lacking: Iterable[StoredObject]
) -> None:
    """Raise if a bucket has objects of others under the keys of some that are to be copied."""
    since = changed_at(target, S3Url(bucket, bucket_marks.KEY))
    wanted = {entry.path for entry in lacking}
    for entry in list_objects(target, S3Url(bucket)):
        if entry.path in wanted and since is not None and entry.modified < since:
            raise BucketTaken(
                f"The bucket '{bucket}' has another '{entry.path}', which was there before this "
                "stack used the bucket: nothing was copied. Name another bucket, or have that "
                "object moved away."
            )


def _take(target: Client, news: Mapping[str, Any]) -> BucketMark:
    given = bool(news.get("given"))
    return take(target, news["bucket"], news["store"], known=False, given=given)


def _known(source: Client, olds: Mapping[str, Any], new: Store) -> BucketMark:
    """Return the mark of the old bucket, which gets one if it is older than marks are."""
    mark = bucket_marks.find(source, olds["bucket"])
    if is_anothers(mark, new):
        raise NoBucket(f"The bucket '{olds['bucket']}' is another stack's by now.")
    owner = {"stack_id": new["stack_id"], "stack": new["stack"]}
    return mark or bucket_marks.put(source, olds["bucket"], **owner)


def _there(target: Client, bucket: str) -> BucketMark | None:
    try:
        return bucket_marks.find(target, bucket)
    except NoBucket:
        return None


def jobs_that_train(store: Store) -> list[str]:
    """Return the names of the stack's Jobs that have a pod now."""
    return [
        str(job["metadata"]["name"])
        for job in ending.jobs(store["cluster"], store["namespace"])
        if job.get("status", {}).get("active")
    ]


def _require_no_writer(store: Store) -> None:
    for name in jobs_that_train(store):
        raise StoreError(
            f"The Job '{name}' still trains, and writes to the old object store. Wait until it "
            "has ended, or run 'python -m infra cancel'; then run 'pulumi up' again."
        )


def _tell_what_stays(source: Client, olds: Mapping[str, Any], new: Store, copied: int) -> None:
    bucket, old = olds["bucket"], olds["store"]
    lines = []
    if copied:
        lines.append(
            f"{copied} objects of the bucket '{bucket}' were copied from {_named(old)} to "
            f"{_named(new)}."
        )
    if olds.get("given"):
        lines.append(
            f"The bucket '{bucket}' of {_named(old)} was there before this stack, and stays."
        )
    elif not old["in_stack"]:
        keys = [entry.path for entry in list_objects(source, S3Url(bucket))]
        endpoint = f" --endpoint-url {old['endpoint']}" if old["endpoint"] else ""
        lines.append(
            f"The bucket '{bucket}' of {_named(old)} stays, with {count(keys)}. When nobody needs "
            f"it any more: aws s3 rb --force s3://{bucket}{endpoint}"
        )
    if lines:
        tell(" ".join(lines), stays=True)


def _named(store: Store) -> str:
    if store["in_stack"]:
        return "the stack's own store"
    return f"the store at '{store['endpoint'] or 'AWS'}'"
