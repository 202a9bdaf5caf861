"""Uploads that are known again: each object carries the SHA-256 of its content as metadata.

It spares the upload of what is there already, and says who put an object there: what has no mark
is somebody else's, and never deleted.
"""

from collections.abc import Iterable
from pathlib import Path

from store.client import Client
from store.errors import Gone, StoreError
from store.objects import head
from store.parallel import in_parallel
from store.transfers import upload_file
from store.urls import S3Url

_MARK = "dlstack-sha256"


def mark(client: Client, url: S3Url) -> str | None:
    """Return the SHA-256 of an uploaded object; None if it isn't there or somebody else's."""
    try:
        return head(client, url)["Metadata"].get(_MARK)
    except Gone:
        return None


def marks(client: Client, bucket: str, keys: Iterable[str]) -> dict[str, str]:
    """Return key -> SHA-256 of those objects that `upload` put there."""
    found = in_parallel(lambda key: (key, mark(client, S3Url(bucket, key))), keys)
    return {key: sha256 for key, sha256 in found if sha256}


def upload(client: Client, bucket: str, files: Iterable[tuple[Path, str, str]]) -> None:
    """Upload (file, key, SHA-256) triples, except what lies there already."""

    def put(item: tuple[Path, str, str]) -> None:
        file, key, sha256 = item
        url = S3Url(bucket, key)
        if mark(client, url) == sha256:
            return
        try:
            upload_file(client, file, url, metadata={_MARK: sha256})
        except OSError as error:
            raise StoreError(
                f"Can't upload '{file}' to '{url}': {error.strerror or error}. Check the file."
            ) from error

    in_parallel(put, files)
