"""Single objects, and the lists of them."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from store.client import CHECKSUM, Client
from store.errors import Changed, Gone, StoreError
from store.urls import S3Url

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef, ObjectIdentifierTypeDef

_CHUNK_BYTES = 2**20
_KEYS_PER_DELETE = 1000


@dataclass(frozen=True)
class StoredObject:
    """One object below a URL, as it was when it was listed."""

    path: str
    """Its key, relative to that URL."""
    size: int
    """Bytes."""
    etag: str
    """What tells this content from another, in the quotes that S3 puts around it."""
    modified: datetime
    """When it was written, by the store's clock; to the second at least."""


def list_objects(client: Client, url: S3Url) -> Iterator[StoredObject]:
    """Yield all objects below `url`, in an order of the store's."""
    prefix = url.folder_prefix
    with client.explained(f"list '{url}'"):
        pages = client.s3.get_paginator("list_objects_v2").paginate(
            Bucket=url.bucket, Prefix=prefix
        )
        for page in pages:
            for entry in page.get("Contents", []):
                yield StoredObject(
                    entry["Key"][len(prefix) :],
                    entry["Size"],
                    entry["ETag"],
                    entry["LastModified"],
                )


def list_files(client: Client, url: S3Url) -> Iterator[StoredObject]:
    """Yield the objects below `url`, but for the empty ones that some tools put for a folder."""
    for entry in list_objects(client, url):
        if entry.path and not entry.path.endswith("/"):
            yield entry


def list_folders(client: Client, url: S3Url) -> list[str]:
    """Return the names of the folders directly below `url`."""
    prefix = url.folder_prefix
    with client.explained(f"list '{url}'"):
        pages = client.s3.get_paginator("list_objects_v2").paginate(
            Bucket=url.bucket, Prefix=prefix, Delimiter="/"
        )
        return [
            entry["Prefix"][len(prefix) : -1]
            for page in pages
            for entry in page.get("CommonPrefixes", [])
        ]


def read(client: Client, url: S3Url, *, first_byte: int = 0, etag: str | None = None) -> bytes:
    """Return an object's bytes from `first_byte` on; with `etag`, only of that content.

    Raises:
        NoObject: there is none.
        Changed: it has another content, or no byte at `first_byte`.
    """
    options: dict[str, Any] = {"Range": f"bytes={first_byte}-"} if first_byte else {}
    if etag:
        options["IfMatch"] = etag
    with client.explained(f"read '{url}'"):
        answer = client.s3.get_object(Bucket=url.bucket, Key=url.prefix, **options)
        return answer["Body"].read()


def read_chunks(client: Client, url: S3Url) -> Iterator[bytes]:
    """Yield an object's bytes in pieces of 1 MiB at most. Raises NoObject if there is none."""
    with client.explained(f"read '{url}'"):
        body = client.s3.get_object(Bucket=url.bucket, Key=url.prefix)["Body"]
        with closing(body):
            yield from body.iter_chunks(_CHUNK_BYTES)


def changed_at(client: Client, url: S3Url) -> datetime | None:
    """Return when an object was last written; None if there is none."""
    try:
        return head(client, url)["LastModified"]
    except Gone:
        return None


def head(client: Client, url: S3Url, version: str | None = None) -> "HeadObjectOutputTypeDef":
    """Return what S3 tells of an object besides its content. Raises NoObject if there is none."""
    options: dict[str, Any] = {"VersionId": version} if version else {}
    with client.explained(f"look at '{url}'"):
        return client.s3.head_object(Bucket=url.bucket, Key=url.prefix, **options)


def write(client: Client, url: S3Url, content: bytes) -> None:
    """Put an object, over an older one if there is one."""
    with client.explained(f"write '{url}'"):
        client.s3.put_object(
            Bucket=url.bucket, Key=url.prefix, Body=content, ChecksumAlgorithm=CHECKSUM
        )


def create(client: Client, url: S3Url, content: bytes) -> bool:
    """Put an object unless there is one; of several callers at the same time one gets True."""
    try:
        with client.explained(f"create '{url}'"):
            client.s3.put_object(
                Bucket=url.bucket,
                Key=url.prefix,
                Body=content,
                IfNoneMatch="*",
                ChecksumAlgorithm=CHECKSUM,
            )
    except Changed:
        return False
    return True


def delete(client: Client, url: S3Url) -> None:
    """Delete an object; one that is gone is fine."""
    with client.explained(f"delete '{url}'"):
        client.s3.delete_object(Bucket=url.bucket, Key=url.prefix)


def delete_many(client: Client, bucket: str, keys: Iterable[str]) -> None:
    """Delete objects; those that are gone are fine, as is a bucket that is."""
    delete_entries(client, bucket, ((key, None) for key in keys))


def delete_entries(client: Client, bucket: str, entries: Iterable[tuple[str, str | None]]) -> None:
    """Delete objects by key, or single versions of them by key and version, in this order."""
    left: list[ObjectIdentifierTypeDef] = [
        {"Key": key} if version is None else {"Key": key, "VersionId": version}
        for key, version in entries
    ]
    while left:
        some, left = left[:_KEYS_PER_DELETE], left[_KEYS_PER_DELETE:]
        try:
            with client.explained(f"delete objects of the bucket '{bucket}'"):
                answer = client.s3.delete_objects(
                    Bucket=bucket, Delete={"Objects": some, "Quiet": True}
                )
        except Gone:
            return
        if errors := answer.get("Errors"):
            raise StoreError(
                f"{len(errors)} objects of the bucket '{bucket}' can't be deleted, such as "
                f"'{errors[0].get('Key')}': {errors[0].get('Message')}. Try again, or delete them."
            )
