"""The files of the data set, in a local folder or in the configured object store."""

import pulumi

from .. import s3
from ..settings.external_store import ExternalStore
from . import checksums


def in_folder(path: str) -> dict[str, str]:
    """Return path -> SHA-256 of a data set in a local folder."""
    return checksums.folder(path, "dataDir")


def in_store(url: str, store: ExternalStore) -> dict[str, str]:
    """Return key -> size and ETag of a data set in S3: they stand for its files' checksums.

    Raises:
        pulumi.RunError: the store can't be read, or has no files there.
    """
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    client = s3.connect(
        store.endpoint, store.region, store.access_key, store.secret_key, direct=False
    )
    try:
        objects = s3.list_objects(client, bucket, f"{prefix}/" if prefix else "")
    except s3.StoreError as exc:
        raise pulumi.RunError(f"dlstack:dataDir '{url}': {exc}") from exc
    if not objects:
        raise pulumi.RunError(f"dlstack:dataDir '{url}' has no files. Upload the data set there.")
    return {key: f"{size}-{etag}" for key, (size, etag) in objects.items()}
