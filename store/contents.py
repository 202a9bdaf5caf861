"""All that a bucket holds: objects, older versions of them, delete markers, unfinished uploads.

A bucket is deleted only when all of it is gone. Listing objects shows the newest versions only.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from store.client import Client
from store.errors import Forbidden, Gone, NoUpload, Unsupported
from store.objects import delete_entries, list_objects
from store.parallel import in_parallel
from store.urls import S3Url


@dataclass(frozen=True)
class Version:
    """One version of an object, the newest or an older one."""

    key: str
    id: str | None
    """None: the bucket keeps no versions."""
    is_delete_marker: bool
    """Says that the object was deleted; it has no content."""


@dataclass(frozen=True)
class Upload:
    """A file that is uploaded in parts, and not complete: no list of objects shows it."""

    key: str
    id: str
    begun: datetime | None
    """By the store's clock; None: it doesn't say."""


@dataclass(frozen=True)
class Arrived:
    """What has come of an unfinished upload."""

    first: datetime
    """When it was begun, as far as that is known, by the store's clock."""
    last: datetime
    """When the last part of it came."""
    size: int
    """Bytes."""


@dataclass(frozen=True)
class Contents:
    """What a bucket held when it was looked at."""

    is_versioned: bool
    """Deleted and overwritten objects are still there, as older versions."""
    versions: tuple[Version, ...]
    uploads: tuple[Upload, ...]


def look(client: Client, bucket: str) -> Contents:
    """Return what a bucket holds. Raises NoBucket if there is no such bucket."""
    versioned = is_versioned(client, bucket)
    if versioned:
        versions = tuple(_versions(client, bucket))
    else:
        versions = tuple(
            Version(entry.path, None, False) for entry in list_objects(client, S3Url(bucket))
        )
    return Contents(versioned, versions, tuple(unfinished(client, bucket)))


def delete(client: Client, bucket: str, contents: Contents, *, last: str) -> None:
    """Delete all of `contents`, the object `last` at the end; what is gone already is fine."""
    abort(client, bucket, contents.uploads)
    ordered = sorted(contents.versions, key=lambda version: version.key == last)
    delete_entries(client, bucket, ((version.key, version.id) for version in ordered))


def abort(client: Client, bucket: str, uploads: Iterable[Upload]) -> None:
    """Take away what has arrived of unfinished uploads; those that are gone are fine."""

    def one(upload: Upload) -> None:
        try:
            with client.explained(f"end the unfinished upload of '{bucket}/{upload.key}'"):
                client.s3.abort_multipart_upload(Bucket=bucket, Key=upload.key, UploadId=upload.id)
        except (Gone, NoUpload):
            return

    in_parallel(one, uploads)


def arrived(client: Client, bucket: str, upload: Upload) -> Arrived | None:
    """Return what has come of an unfinished upload; None: it is gone, or the store doesn't say."""
    times, size = [upload.begun] if upload.begun else [], 0
    try:
        with client.explained(f"look at the unfinished upload of '{bucket}/{upload.key}'"):
            pages = client.s3.get_paginator("list_parts").paginate(
                Bucket=bucket, Key=upload.key, UploadId=upload.id
            )
            for page in pages:
                for part in page.get("Parts", []):
                    times.append(part["LastModified"])
                    size += part["Size"]
    except (Gone, NoUpload, Unsupported, Forbidden):
        return None
    return Arrived(min(times), max(times), size) if times else None


def is_versioned(client: Client, bucket: str) -> bool:
    """Say whether a bucket keeps what is deleted or overwritten, as older versions."""
    try:
        with client.explained(f"look whether the bucket '{bucket}' keeps versions"):
            return bool(client.s3.get_bucket_versioning(Bucket=bucket).get("Status"))
    except (Unsupported, Forbidden):
        # A store without versions, or a user who may not ask: who owns buckets may.
        return False


def _versions(client: Client, bucket: str) -> Iterator[Version]:
    with client.explained(f"list the versions in the bucket '{bucket}'"):
        for page in client.s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            for entry in page.get("Versions", []):
                yield Version(entry["Key"], entry["VersionId"], False)
            for marker in page.get("DeleteMarkers", []):
                yield Version(marker["Key"], marker["VersionId"], True)


def unfinished(client: Client, bucket: str) -> list[Upload]:
    """Return the uploads in parts that are not complete; none where nobody may ask for them."""
    try:
        with client.explained(f"list the unfinished uploads to the bucket '{bucket}'"):
            pages = client.s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket)
            return [
                Upload(entry["Key"], entry["UploadId"], entry.get("Initiated"))
                for page in pages
                for entry in page.get("Uploads", [])
            ]
    except (Unsupported, Forbidden):
        return []
