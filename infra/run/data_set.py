"""The files of the data set, in a local folder or in the configured object store."""

import pulumi

from store import buckets
from store.access import Access
from store.client import connect
from store.errors import NoBucket, StoreError
from store.file_names import require_files
from store.objects import list_objects
from store.urls import S3Url

from . import checksums


def in_folder(path: str) -> dict[str, str]:
    """Return path -> SHA-256 of a data set in a local folder."""
    return checksums.data(path, "dlstack:dataDir")


def in_store(url: str, store: Access) -> dict[str, str]:
    """Return key -> size and ETag of a data set in S3: they stand for its files' checksums.

    Raises:
        pulumi.RunError: the store can't be read, or has no files there.
    """
    try:
        place = S3Url.parse(url)
        client = connect(store, direct=False)
        buckets.require_answer(client)
        objects = list(list_objects(client, place))
        # Known now, and not when it is fetched for a training.
        require_files(place, objects)
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
