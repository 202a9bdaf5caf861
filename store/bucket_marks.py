"""Whose bucket it is: an object in each bucket of a stack that names the stack (a contract).

A name alone says nothing: two people may have stacks of the same name, and a bucket whose creation
was cut short is in nobody's state.
"""

import json
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from store.client import Client
from store.creation import create
from store.dialect import OWN_PREFIX
from store.errors import BucketTaken, NoObject, StoreError
from store.objects import changed_at, read
from store.urls import S3Url

KEY = f"{OWN_PREFIX}.json"
"""Of the mark, in each bucket."""


@dataclass(frozen=True, kw_only=True)
class BucketMark:
    """What a stack leaves in a bucket that it makes."""

    stack_id: str
    """Tells this stack from all others, of whatever name."""
    stack: str
    """`<project>-<stack>`, for people."""
    bucket_id: str
    """Tells this bucket from all others: the same under another address is the same bucket."""
    created: str
    """RFC 3339 UTC time."""


def find(client: Client, bucket: str) -> BucketMark | None:
    """Return the mark of a bucket, if it bears one. Raises NoBucket if there is no such bucket."""
    try:
        content = json.loads(read(client, S3Url(bucket, KEY)))
        return BucketMark(**{name: content[name] for name in BucketMark.__annotations__})
    except (NoObject, ValueError, KeyError, TypeError):
        return None


def put(client: Client, bucket: str, *, stack_id: str, stack: str) -> BucketMark:
    """Mark a bucket that bears no mark; return the one that it bears now.

    Raises:
        BucketTaken: another stack did so at the same time, or something else has the mark's key.
        StoreError: somebody is about to.
    """
    mark = BucketMark(
        stack_id=stack_id,
        stack=stack,
        bucket_id=str(uuid.uuid4()),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    content = json.dumps(asdict(mark), indent=2).encode() + b"\n"
    if create(client, S3Url(bucket, KEY), content):
        return mark
    there = find(client, bucket)
    if there is None and changed_at(client, S3Url(bucket, KEY)) is None:
        # Of a store without conditions (`store.creation`).
        raise StoreError(
            f"Somebody else is about to mark the bucket '{bucket}', or was killed at that a moment "
            "ago. Run the command again, in ten minutes at the latest."
        )
    if there is None or there.stack_id != stack_id:
        raise BucketTaken(
            f"The bucket '{bucket}' has an object '{KEY}' that this stack did not put there. "
            f"{client.advice[BucketTaken]}"
        )
    return there
