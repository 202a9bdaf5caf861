"""Single objects, and the lists of them."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from store import dialect
from store.client import Client
from store.errors import Gone, StoreError, Unsupported
from store.parallel import in_parallel
from store.urls import S3Url

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import (
        GetObjectOutputTypeDef,
        HeadObjectOutputTypeDef,
        ObjectIdentifierTypeDef,
    )

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
    for entry in list_prefix(client, url.bucket, prefix):
        yield replace(entry, path=entry.path[len(prefix) :])


def list_prefix(client: Client, bucket: str, prefix: str) -> Iterator[StoredObject]:
    """Yield all objects whose keys begin with `prefix`, with these keys as their paths."""
    with client.explained(f"list '{S3Url(bucket, prefix)}'"):
        pages = client.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for page in pages:
            for entry in page.get("Contents", []):
                yield StoredObject(
                    entry["Key"], entry["Size"], entry["ETag"], entry["LastModified"]
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
    with client.explained(f"read '{url}'"):
        return _get(client, url, first_byte, etag)["Body"].read()


def read_chunks(
    client: Client, url: S3Url, *, first_byte: int = 0, etag: str | None = None
) -> Iterator[bytes]:
    """Yield what `read` returns in pieces of 1 MiB at most. Raises as it does."""
    with client.explained(f"read '{url}'"):
        body = _get(client, url, first_byte, etag)["Body"]
        with closing(body):
            yield from body.iter_chunks(_CHUNK_BYTES)


def _get(client: Client, url: S3Url, first_byte: int, etag: str | None) -> "GetObjectOutputTypeDef":
    options: dict[str, Any] = {"Range": f"bytes={first_byte}-"} if first_byte else {}
    if etag:
        options["IfMatch"] = etag
    return client.s3.get_object(Bucket=url.bucket, Key=url.prefix, **options)


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
    how = dialect.of(client, url.bucket)
    with client.explained(f"write '{url}'"):
        how.s3.put_object(Bucket=url.bucket, Key=url.prefix, Body=content, **how.checksum)


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
        if not client.deletes_many:
            _delete_singly(client, bucket, some)
            continue
        try:
            with client.explained(f"delete objects of the bucket '{bucket}'"):
                answer = client.s3.delete_objects(
                    Bucket=bucket, Delete={"Objects": some, "Quiet": True}
                )
        except Gone:
            return
        except StoreError as error:
            # Some stores know no such request, or only with a header that boto3 sends no more.
            if type(error) not in (StoreError, Unsupported):
                raise
            _delete_singly(client, bucket, some)
            client.deletes_many = False
            continue
        if errors := answer.get("Errors"):
            raise StoreError(
                f"{len(errors)} objects of the bucket '{bucket}' can't be deleted, such as "
                f"'{errors[0].get('Key')}': {errors[0].get('Message')}. Try again, or delete them."
            )


def _delete_singly(
    client: Client, bucket: str, entries: "Sequence[ObjectIdentifierTypeDef]"
) -> None:
    """Delete objects one by one. Those of the last one's key go after all others."""

    def one(entry: Mapping[str, Any]) -> None:
        with (
            contextlib.suppress(Gone),
            client.explained(f"delete '{S3Url(bucket, str(entry['Key']))}'"),
        ):
            client.s3.delete_object(Bucket=bucket, **entry)

    last = entries[-1]["Key"]
    in_parallel(one, [entry for entry in entries if entry["Key"] != last])
    for entry in entries:
        if entry["Key"] == last:
            one(entry)
