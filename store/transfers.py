"""Files and folders to and from a store."""

import base64
import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from store.client import CHECKSUM, Client
from store.errors import OtherContent, StoreError
from store.objects import StoredObject, list_files
from store.parallel import in_parallel
from store.urls import S3Url

if TYPE_CHECKING:
    from boto3.s3.transfer import TransferConfig

_LARGE_FILE_BYTES = 64 * 2**20
"""Above this size one file is moved in parts, several at a time."""

HASHED_IN_PARTS_BYTES = 16 * 2**20
"""From this size on, a file that is hashed while it is sent is sent in parts. They are kept until
they have arrived, ten at a time: such files are best sent one after the other."""

_PART_BYTES = 8 * 2**20
_MOST_PARTS = 10_000
"""Of one object of S3."""


def upload_file(
    client: Client, file: Path, url: S3Url, *, metadata: Mapping[str, str] | None = None
) -> None:
    """Put a file, with a checksum that the store verifies.

    Raises:
        OSError: the file can't be read.
    """
    config = transfer_config(file.stat().st_size)
    with client.explained(f"upload '{file}' to '{url}'"):
        client.s3.upload_file(
            str(file),
            url.bucket,
            url.prefix,
            ExtraArgs={"ChecksumAlgorithm": CHECKSUM, "Metadata": dict(metadata or {})},
            Config=config,
        )


def upload_hashed(
    client: Client,
    file: BinaryIO,
    url: S3Url,
    sha256: str,
    *,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Put what `file` yields, if it has this SHA-256 as it is sent: else nothing is put.

    Each byte is read once.

    Args:
        file: open for reading; it stays open.
        sha256: 64 hexadecimal digits.

    Raises:
        OtherContent: it has another SHA-256, or grows faster than it is sent.
        OSError: the file can't be read.
    """
    with client.explained(f"upload to '{url}'"):
        content = file.read(HASHED_IN_PARTS_BYTES)
        if len(content) < HASHED_IN_PARTS_BYTES:
            digest = hashlib.sha256(content)
            if digest.hexdigest() != sha256:
                raise _other_content(url)
            client.s3.put_object(
                Bucket=url.bucket,
                Key=url.prefix,
                Body=content,
                # The store compares it with what has arrived.
                ChecksumSHA256=base64.b64encode(digest.digest()).decode(),
                Metadata=dict(metadata or {}),
            )
            return
        size = os.fstat(file.fileno()).st_size
        client.s3.upload_fileobj(
            cast("IO[bytes]", _Hashed(file, content, size, sha256, url)),
            url.bucket,
            url.prefix,
            ExtraArgs={"ChecksumAlgorithm": CHECKSUM, "Metadata": dict(metadata or {})},
            Config=_parts_config(size),
        )


class _Hashed:
    """Yields a file and raises at its end, before the upload is completed, if it is another one.

    Not seekable, so that boto3 reads it once, in its order, and keeps the parts that it sends.
    """

    def __init__(self, file: BinaryIO, begun: bytes, size: int, sha256: str, url: S3Url) -> None:
        """Yield `begun`, which is read already, and then the rest of `file`."""
        self._file = file
        self._begun = begun
        self._left = size
        self._sha256 = sha256
        self._digest = hashlib.sha256()
        self._url = url

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            content = self._begun + self._file.read()
            self._begun = b""
        else:
            content, self._begun = self._begun[:size], self._begun[size:]
            while len(content) < size and (more := self._file.read(size - len(content))):
                content += more
        self._digest.update(content)
        self._left -= len(content)
        ended = size < 0 or len(content) < size
        # What is written to without an end must not be sent without one.
        if self._left < 0 or (ended and self._digest.hexdigest() != self._sha256):
            raise _other_content(self._url)
        return content


def _other_content(url: S3Url) -> OtherContent:
    return OtherContent(f"What was to be sent to '{url}' has changed. Run the command again.")


def fetch_file(client: Client, url: S3Url, target: Path, size: int) -> None:
    """Get an object of `size` bytes as a file, which appears only when it is complete.

    Raises:
        NoObject: there is none.
        Changed: it was written anew while it was fetched.
        OSError: the file can't be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with client.explained(f"fetch '{url}'"):
        client.s3.download_file(url.bucket, url.prefix, str(target), Config=transfer_config(size))


def fetch_files(client: Client, url: S3Url, files: Iterable[StoredObject], target: Path) -> None:
    """Get some of the objects below `url` into the folder `target`.

    Raises:
        NoObject: one was deleted since they were listed.
    """
    files = list(files)
    for entry in files:
        if ".." in PurePosixPath(entry.path).parts or entry.path.startswith("/"):
            raise StoreError(f"'{url}' has the unsafe key {entry.path!r}. Delete that object.")
    in_parallel(
        lambda entry: fetch_file(client, url / entry.path, target / entry.path, entry.size), files
    )


def fetch_folder(client: Client, url: S3Url, target: Path) -> list[StoredObject]:
    """Get all objects below `url` into the folder `target`; return what was there."""
    files = list(list_files(client, url))
    fetch_files(client, url, files, target)
    return files


def transfer_config(size: int) -> "TransferConfig":
    """Return how boto3 moves a file of `size` bytes."""
    from boto3.s3.transfer import TransferConfig

    # Small files already share one pool of threads; more threads for each only cost start-up time.
    return TransferConfig(
        multipart_threshold=_LARGE_FILE_BYTES, use_threads=size > _LARGE_FILE_BYTES
    )


def _parts_config(size: int) -> "TransferConfig":
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(
        multipart_threshold=HASHED_IN_PARTS_BYTES,
        multipart_chunksize=max(_PART_BYTES, -(-size // _MOST_PARTS)),
    )
