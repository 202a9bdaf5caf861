"""Objects that are written once only, however many want to at the same time.

S3 does it by a condition. A store without conditions is asked by ballots: who wants to create an
object puts one beside its key, and creates it only if there is no other. Of several that begin at
the same time, none may come through, but never two: each has put its ballot before it looks, and
takes it away when the object is there. That needs a store whose lists show what was just written.
"""

import random
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from store import dialect
from store.client import Client
from store.errors import Changed, StoreError, Unreachable
from store.objects import StoredObject, changed_at, delete, list_prefix, write
from store.urls import S3Url

_TRIES = 6
_PAUSE_SECONDS = 0.3
"""Between two tries, at most: half of it, on average."""
_LEFT_BEHIND = timedelta(minutes=10)
"""A ballot that is older is of a process that was killed."""
_MOST_SECONDS = 60.0
"""From the look at the ballots to the request that creates: far less than `_LEFT_BEHIND`."""


def create(client: Client, url: S3Url, content: bytes) -> bool:
    """Put an object unless there is one; of several callers at the same time one gets True.

    Where the store knows no conditions: one at most, and False may also mean that another one is
    about to.
    """
    how = dialect.of(client, url.bucket)
    if not how.conditional:
        return _create_by_ballot(client, url, content)
    try:
        with client.explained(f"create '{url}'"):
            how.s3.put_object(
                Bucket=url.bucket,
                Key=url.prefix,
                Body=content,
                IfNoneMatch="*",
                **how.checksum,
            )
    except Changed:
        return False
    except Unreachable:
        # Some stores refuse before they have read what they are sent, and cut the connection.
        if changed_at(client, url) is None:
            raise
        return False
    return True


def _create_by_ballot(client: Client, url: S3Url, content: bytes) -> bool:
    for _ in range(_TRIES):
        with _ballot(client, url) as ballot:
            began = time.monotonic()
            alone = _is_alone(client, url, ballot)
            # After the look at the ballots: who took one away has created the object before.
            if changed_at(client, url) is not None:
                return False
            if alone and time.monotonic() - began < _MOST_SECONDS:
                return _put_once(client, url, content)
        time.sleep(random.uniform(0, _PAUSE_SECONDS))
    return False


def _put_once(client: Client, url: S3Url, content: bytes) -> bool:
    """Put it by a condition all the same: who takes the store for one that keeps conditions casts
    no ballot."""
    try:
        with client.explained(f"create '{url}'"):
            dialect.of(client, url.bucket).s3.put_object(
                Bucket=url.bucket, Key=url.prefix, Body=content, IfNoneMatch="*"
            )
    except Changed:
        return False
    except Unreachable:
        raise
    except StoreError:
        write(client, url, content)
    return True


@contextmanager
def _ballot(client: Client, url: S3Url) -> Iterator[S3Url]:
    ballot = S3Url(url.bucket, f"{_ballots(url)}{uuid.uuid4()}")
    write(client, ballot, b"")
    try:
        yield ballot
    finally:
        delete(client, ballot)


def _ballots(url: S3Url) -> str:
    return f"{url.prefix}.ballot-"


def _is_alone(client: Client, url: S3Url, ballot: S3Url) -> bool:
    """Say whether nobody else is about to create the object."""
    found = {entry.path: entry for entry in list_prefix(client, url.bucket, _ballots(url))}
    own = found.pop(ballot.prefix, None)
    if own is None:
        raise StoreError(
            f"The object store at '{client.endpoint}' does not list what was just written to it: "
            "nobody can tell who creates an object first. Use another store (docs/stores.md)."
        )
    return not any(_is_recent(one, own) for one in found.values())


def _is_recent(one: StoredObject, own: StoredObject) -> bool:
    # Both by the store's clock.
    return own.modified - one.modified < _LEFT_BEHIND
