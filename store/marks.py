"""Uploads that are known again: each object carries the SHA-256 of its content as metadata, taken
while it was sent.

It spares the upload of what is there already, and says who put an object there: what has no mark
is somebody else's, and never deleted.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from store.client import Client
from store.errors import Gone, OtherContent, StoreError
from store.objects import head
from store.parallel import in_parallel
from store.sending import PART_BYTES
from store.transfers import upload_hashed
from store.urls import S3Url

_MARK = "dlstack-sha256"


def mark(client: Client, url: S3Url, version: str | None = None) -> str | None:
    """Return the SHA-256 of an uploaded object; None if it isn't there or somebody else's."""
    try:
        return head(client, url, version)["Metadata"].get(_MARK)
    except Gone:
        return None


def metadata(sha256: str) -> dict[str, str]:
    """Return the metadata of an object that is to be known again."""
    return {_MARK: sha256}


def plainly(file: Path) -> BinaryIO:
    """Open a file as it is."""
    return file.open("rb")


def marks(client: Client, bucket: str, keys: Iterable[str]) -> dict[str, str]:
    """Return key -> SHA-256 of those objects that `upload` put there."""
    found = in_parallel(lambda key: (key, mark(client, S3Url(bucket, key))), keys)
    return {key: sha256 for key, sha256 in found if sha256}


def upload(
    client: Client,
    bucket: str,
    files: Iterable[tuple[Path, str, str]],
    there: Collection[str],
    opened: Callable[[Path], BinaryIO] = plainly,
    sent: Callable[[int], None] = lambda _: None,
) -> None:
    """Upload (file, key, SHA-256) triples, except what lies there already.

    Args:
        there: the keys that the bucket has: the others are sent without a look, in half the time.
        opened: opens a file, and may yield another form of it: the one that the SHA-256 is of.
        sent: gets the number of bytes that have arrived by each request, from several threads.

    Raises:
        StoreError: a file can't be read, or is not of that SHA-256 while it is sent. It is not put
            in the bucket then.
    """

    def put(item: tuple[Path, str, str]) -> None:
        file, key, sha256 = item
        url = S3Url(bucket, key)
        if key in there and mark(client, url) == sha256:
            return
        try:
            with opened(file) as source:
                upload_hashed(client, source, url, sha256, metadata=metadata(sha256), sent=sent)
        except OtherContent as error:
            raise OtherContent(
                f"'{file}' was changed after its checksum was taken, and was not sent to '{url}'. "
                "Run the command again when nobody writes to it."
            ) from error
        except OSError as error:
            raise StoreError(
                f"Can't upload '{file}' to '{url}': {error.strerror or error}. Check the file."
            ) from error

    large: list[tuple[Path, str, str]] = []

    def small() -> Iterator[tuple[Path, str, str]]:
        for item in files:
            if _size(item[0]) < PART_BYTES:
                yield item
            else:
                large.append(item)

    in_parallel(put, small())
    # Each is sent by several threads.
    for item in large:
        put(item)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        # Told when it is to be sent, if it has to be.
        return 0
