"""Files and folders to and from a store."""

import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from store import dialect
from store.client import Client
from store.fetching import RANGE_BYTES, fetch_file
from store.file_names import require_files
from store.objects import StoredObject
from store.parallel import in_parallel
from store.sending import Sent, send
from store.urls import S3Url

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CopySourceTypeDef

_COPIED_AT_ONCE_BYTES = 64 * 2**20
"""By one request, which many a store answers when all of it is copied: that may take longer than
anybody waits for an answer. What is larger is copied in parts of this size, or of more."""
_MOST_PARTS = 10_000
_COPIES_AT_A_TIME = 8


def upload_file(
    client: Client,
    file: Path,
    url: S3Url,
    *,
    metadata: Mapping[str, str] | None = None,
    after_read: Callable[[], None] | None = None,
) -> Sent:
    """Put a file as it is now, with a checksum that the store verifies; return what was put.

    What is appended meanwhile is not sent.

    Args:
        client, file, url, metadata: what, and where to.
        after_read: called after each part that is read. If it raises, nothing is put.

    Raises:
        OSError: the file can't be read.
    """
    with file.open("rb") as content:
        size = os.fstat(content.fileno()).st_size
        reader = _Watched(content, after_read) if after_read else content
        return send(client, reader, url, size, metadata=metadata)


class _Watched:
    """A file that calls a function after each read."""

    def __init__(self, file: BinaryIO, after_read: Callable[[], None]) -> None:
        self._file = file
        self._after_read = after_read

    def read(self, size: int, /) -> bytes:
        content = self._file.read(size)
        self._after_read()
        return content


def upload_hashed(
    client: Client,
    file: BinaryIO,
    url: S3Url,
    sha256: str,
    *,
    metadata: Mapping[str, str] | None = None,
    sent: Callable[[int], None] | None = None,
) -> None:
    """Put what `file` yields, if it has this SHA-256 as it is sent: else nothing is put.

    Each byte is read once.

    Args:
        file: open for reading; it stays open.
        sha256: 64 hexadecimal digits.
        sent: as for `send`.

    Raises:
        OtherContent: it has another SHA-256, or grows.
        OSError: the file can't be read.
    """
    send(client, file, url, size_of(file), sha256=sha256, metadata=metadata, sent=sent)


def size_of(file: BinaryIO) -> int:
    """Return how many bytes an open file yields at most."""
    if isinstance(file, io.BytesIO):
        return file.getbuffer().nbytes
    return os.fstat(file.fileno()).st_size


class Wanted(NamedTuple):
    """An object that is to be a file."""

    url: S3Url
    target: Path
    size: int
    """Bytes, as it was listed."""
    sha256: str = ""
    etag: str = ""
    """Of its content, as far as they are known."""


def _at_once(action: Callable[[], None]) -> None:
    action()


def fetch_all(
    client: Client,
    wanted: Iterable[Wanted],
    ask: Callable[[Callable[[], None]], None] = _at_once,
) -> None:
    """Get many objects. Raises as `fetch_file` does.

    Args:
        client: of the store.
        wanted: which objects.
        ask: gets each, maybe again after an error.
    """
    large: list[Wanted] = []

    def fetch(one: Wanted) -> None:
        ask(
            lambda: fetch_file(
                client, one.url, one.target, one.size, sha256=one.sha256, etag=one.etag
            )
        )

    def small() -> Iterator[Wanted]:
        for one in wanted:
            if one.size <= RANGE_BYTES:
                yield one
            else:
                large.append(one)

    in_parallel(fetch, small())
    # Each is fetched by several threads.
    for one in large:
        fetch(one)


def fetch_files(client: Client, url: S3Url, files: Iterable[StoredObject], target: Path) -> None:
    """Get some of the objects below `url` into the folder `target`.

    Raises:
        NoObject: one was deleted since they were listed.
        Changed: one has another content since they were listed.
        StoreError: the key of one can't be the path of a file.
    """
    files = list(files)
    require_files(url, files)
    fetch_all(
        client,
        (Wanted(url / one.path, target / one.path, one.size, etag=one.etag) for one in files),
    )


def copy_within(client: Client, source: S3Url, target: S3Url, size: int, etag: str = "") -> None:
    """Have the store copy an object of `size` bytes; with `etag`, only of that content.

    Raises:
        NoObject: there is none.
        Changed: it has another content.
    """
    s3 = dialect.of(client, target.bucket).s3
    place: CopySourceTypeDef = {"Bucket": source.bucket, "Key": source.prefix}
    condition: dict[str, Any] = {"CopySourceIfMatch": etag} if etag else {}
    with client.explained(f"copy '{source}' to '{target}'"):
        if size <= _COPIED_AT_ONCE_BYTES:
            s3.copy_object(Bucket=target.bucket, Key=target.prefix, CopySource=place, **condition)
        else:
            from boto3.s3.transfer import TransferConfig

            config = TransferConfig(
                multipart_threshold=_COPIED_AT_ONCE_BYTES,
                multipart_chunksize=max(_COPIED_AT_ONCE_BYTES, -(-size // _MOST_PARTS)),
                max_concurrency=_COPIES_AT_A_TIME,
            )
            s3.copy(place, target.bucket, target.prefix, ExtraArgs=condition, Config=config)
