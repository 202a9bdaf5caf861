"""All objects of a bucket copied to another one, which may lie in another store.

They go through this machine: a store can't be told to read from another one. Older versions of a
versioned bucket stay where they are.
"""

import threading
import time
from collections.abc import Callable, Iterable

from store.client import Client
from store.errors import Changed
from store.objects import StoredObject, list_objects
from store.parallel import in_parallel
from store.sending import PART_BYTES, send
from store.urls import S3Url

_TELL_SECONDS = 10.0

_LAST = ("manifest.json", "checkpoint")
"""Names of objects that say that others are there: docs/contracts.md."""


def _content(entry: StoredObject) -> object:
    return entry.size, entry.etag


def _size(entry: StoredObject) -> object:
    # Of an object that was sent in parts another store makes another ETag.
    return entry.size


def _all(entries: Iterable[StoredObject]) -> Iterable[StoredObject]:
    return entries


def missing(
    source: Client,
    bucket: str,
    target: Client,
    target_bucket: str,
    *,
    but: str,
    alike: Callable[[StoredObject], object] = _content,
    chosen: Callable[[Iterable[StoredObject]], Iterable[StoredObject]] = _all,
) -> list[StoredObject]:
    """Return the objects of `bucket` that `target_bucket` lacks or has not `alike`.

    Args:
        source: of `bucket`.
        bucket: what has to be there.
        target: of `target_bucket`.
        target_bucket: where it has to be.
        but: the key of an object that does not count.
        alike: what two objects have in common that are the same.
        chosen: returns which of the objects of `bucket` count.
    """
    there = {entry.path: alike(entry) for entry in list_objects(target, S3Url(target_bucket))}
    return [
        entry
        for entry in chosen(list_objects(source, S3Url(bucket)))
        if entry.path != but and there.get(entry.path) != alike(entry)
    ]


def copy_bucket(
    source: Client,
    bucket: str,
    target: Client,
    target_bucket: str,
    *,
    but: str,
    tell: Callable[[str], None],
    chosen: Callable[[Iterable[StoredObject]], Iterable[StoredObject]] = _all,
) -> int:
    """Copy what `target_bucket` lacks; return how many objects that were.

    What `target_bucket` has besides stays. A copy that was cut short is taken up by the next call.

    Args:
        source: of `bucket`.
        bucket: is read.
        target: of `target_bucket`.
        target_bucket: is written.
        but: the key of an object that is not copied.
        tell: gets a line now and then.
        chosen: returns which of the objects of `bucket` are copied.

    Raises:
        Changed: objects were written while they were copied.
    """
    names = (source, bucket, target, target_bucket)
    entries = missing(*names, but=but, chosen=chosen)
    progress = _Progress(entries, tell)

    def copy(entry: StoredObject) -> None:
        _copy(source, S3Url(bucket, entry.path), target, S3Url(target_bucket, entry.path), entry)
        progress.add(entry)

    def names_others(entry: StoredObject) -> bool:
        return entry.path.rpartition("/")[2] in _LAST

    first = [entry for entry in entries if not names_others(entry)]
    in_parallel(copy, (entry for entry in first if entry.size < PART_BYTES))
    # Each is sent by several threads.
    for entry in first:
        if entry.size >= PART_BYTES:
            copy(entry)
    in_parallel(copy, filter(names_others, entries))
    for entry in missing(*names, but=but, alike=_size, chosen=chosen):
        raise Changed(
            f"'{S3Url(bucket, entry.path)}' was written while the bucket was copied. "
            "Run 'pulumi up' again when nothing writes to it any more."
        )
    return len(entries)


def _copy(
    source: Client, url: S3Url, target: Client, target_url: S3Url, entry: StoredObject
) -> None:
    with source.explained(f"read '{url}'"):
        answer = source.s3.get_object(Bucket=url.bucket, Key=url.prefix, IfMatch=entry.etag)
    with target.explained(f"copy '{url}' to '{target_url}'"), answer["Body"] as body:
        send(
            target,
            body,
            target_url,
            entry.size,
            metadata=answer["Metadata"],
            content_type=answer["ContentType"],
        )


class _Progress:
    """Says now and then how much is copied."""

    def __init__(self, entries: list[StoredObject], tell: Callable[[str], None]) -> None:
        self._objects, self._bytes = len(entries), sum(entry.size for entry in entries)
        self._done_objects = self._done_bytes = 0
        self._tell, self._lock, self._told = tell, threading.Lock(), time.monotonic()

    def add(self, entry: StoredObject) -> None:
        with self._lock:
            self._done_objects += 1
            self._done_bytes += entry.size
            if time.monotonic() < self._told + _TELL_SECONDS:
                return
            self._told = time.monotonic()
            self._tell(
                f"Copied {self._done_objects} of {self._objects} objects, "
                f"{self._done_bytes / 1e6:,.0f} of {self._bytes / 1e6:,.0f} MB."
            )
