"""The files of the data set, in a local folder or in the configured object store."""

import pulumi

from store.client import connect
from store.errors import NoBucket, StoreError
from store.objects import list_objects
from store.urls import S3Url

from ..settings.external_store import ExternalStore
from . import checksums


def in_folder(path: str) -> dict[str, str]:
    """Return path -> SHA-256 of a data set in a local folder."""
    return checksums.data(path, "dlstack:dataDir")


def in_store(url: str, store: ExternalStore) -> dict[str, str]:
    """Return key -> size and ETag of a data set in S3: they stand for its files' checksums.

    Raises:
        pulumi.RunError: the store can't be read, or has no files there.
    """
    try:
        place = S3Url.parse(url)
        client = connect(
            store.endpoint, store.region, store.access_key, store.secret_key, direct=False
        )
        objects = list(list_objects(client, place))
    except NoBucket as exc:
        raise pulumi.RunError(
            f"dlstack:dataDir '{url}': the bucket is not there. Create it and upload the data set, "
            "or correct the URL."
        ) from exc
    except StoreError as exc:
        raise pulumi.RunError(f"dlstack:dataDir '{url}': {exc}") from exc
    if not objects:
        raise pulumi.RunError(f"dlstack:dataDir '{url}' has no files. Upload the data set there.")
    return {
        f"{place.folder_prefix}{entry.path}": f"{entry.size}-{entry.etag}".replace('"', "")
        for entry in objects
    }
