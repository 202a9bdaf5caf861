"""What a store can't do that S3 can, found out before something is written to it.

A store that refuses is easily told, but maybe hours later: a training is longer than a request. One
that takes a condition and ignores it would lose a version without a word. So a process that is
about to write tries both on an object of its own, and that takes it three requests.
"""

import contextlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store.client import Client
from store.errors import Changed, Gone, StoreError, Unreachable, WrongClock
from store.urls import S3Url

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

OWN_PREFIX = ".dlstack"
"""What keys of objects begin with that dlstack puts into a bucket for itself."""

_CONTENT = b"dlstack tries what this store can do, and deletes this object again.\n"

_NO_ANSWER = (Gone, Unreachable, WrongClock)
"""Says nothing of what the store can do."""


@dataclass(frozen=True)
class Dialect:
    """How a store is written to."""

    s3: "S3Client"
    """By which."""
    checksums: bool
    """Whether it verifies checksums that S3 has since 2022. If not, each request is signed with
    the SHA-256 of what it carries, which every store verifies."""
    conditional: bool
    """Whether `If-None-Match` keeps an object from being written twice."""

    @property
    def checksum(self) -> Mapping[str, Any]:
        """Arguments of boto3 by which the store verifies what it is sent."""
        return {"ChecksumAlgorithm": "SHA256"} if self.checksums else {}

    @property
    def lacks(self) -> list[str]:
        """What the store can't do, and what is done about it, in sentences."""
        found = []
        if not self.checksums:
            found.append(
                "It does not take checksums (x-amz-checksum): requests are signed with the SHA-256 "
                "of their content in their place."
            )
        if not self.conditional:
            found.append(
                "It does not keep an object from being written twice (If-None-Match): who creates "
                "one looks first whether somebody else is about to."
            )
        return found


def of(client: Client, bucket: str) -> Dialect:
    """Return how to write to the store; at the first call look, by a try in `bucket`.

    Raises:
        StoreError: nothing can be written to the bucket.
    """
    with client.lock:
        if client.dialect is None:
            client.dialect = (
                _try(client, _place(bucket)) if client.plain else Dialect(client.s3, True, True)
            )
        found: Dialect = client.dialect
        return found


def require_writable(client: Client, bucket: str) -> None:
    """Raise a StoreError unless something can be written to the bucket now: it may be full."""
    is_tried = client.dialect is None and client.plain is not None
    how = of(client, bucket)
    if is_tried:
        return
    url = _place(bucket)
    _put(client, how.s3, url, **how.checksum)
    # It can be written to, whatever becomes of this.
    with contextlib.suppress(StoreError):
        _delete(client, how.s3, url)


def _place(bucket: str) -> S3Url:
    return S3Url(bucket, f"{OWN_PREFIX}-try-{uuid.uuid4()}")


def _try(client: Client, url: S3Url) -> Dialect:
    s3, checksums = client.s3, True
    try:
        _put(client, s3, url, ChecksumAlgorithm="SHA256")
    except _NO_ANSWER:
        raise
    except StoreError:
        # Stores that don't know a header say so in many ways, that the signature is wrong among
        # them. If that was not the reason, the plain request fails by the same.
        assert client.plain is not None
        s3, checksums = client.plain(), False
        _put(client, s3, url)
    try:
        conditional = _refuses_a_second(client, s3, url)
    finally:
        with contextlib.suppress(Unreachable):
            _delete(client, s3, url)
    return Dialect(s3, checksums, conditional)


def _refuses_a_second(client: Client, s3: "S3Client", url: S3Url) -> bool:
    try:
        _put(client, s3, url, IfNoneMatch="*")
    except Changed:
        return True
    except StoreError:
        # Refused for another reason, or cut off: as good as unknown.
        return False
    return False


def _delete(client: Client, s3: "S3Client", url: S3Url) -> None:
    with client.explained(f"delete from '{url.bucket}'"):
        s3.delete_object(Bucket=url.bucket, Key=url.prefix)


def _put(client: Client, s3: "S3Client", url: S3Url, **options: Any) -> None:
    with client.explained(f"write to the bucket '{url.bucket}'"):
        s3.put_object(Bucket=url.bucket, Key=url.prefix, Body=_CONTENT, **options)
