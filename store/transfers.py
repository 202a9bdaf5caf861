"""Files and folders to and from a store."""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from store.client import CHECKSUM, Client
from store.errors import StoreError
from store.objects import StoredObject, list_files
from store.parallel import in_parallel
from store.urls import S3Url

if TYPE_CHECKING:
    from boto3.s3.transfer import TransferConfig

_LARGE_FILE_BYTES = 64 * 2**20
"""Above this size one file is moved in parts, several at a time."""


def upload_file(
    client: Client, file: Path, url: S3Url, *, metadata: Mapping[str, str] | None = None
) -> None:
    """Put a file, with a checksum that the store verifies.

    Raises:
        OSError: the file can't be read.
    """
    config = _transfer_config(file.stat().st_size)
    with client.explained(f"upload '{file}' to '{url}'"):
        client.s3.upload_file(
            str(file),
            url.bucket,
            url.prefix,
            ExtraArgs={"ChecksumAlgorithm": CHECKSUM, "Metadata": dict(metadata or {})},
            Config=config,
        )


def fetch_file(client: Client, url: S3Url, target: Path, size: int) -> None:
    """Get an object of `size` bytes as a file, which appears only when it is complete.

    Raises:
        NoObject: there is none.
        Changed: it was written anew while it was fetched.
        OSError: the file can't be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with client.explained(f"fetch '{url}'"):
        client.s3.download_file(url.bucket, url.prefix, str(target), Config=_transfer_config(size))


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


def _transfer_config(size: int) -> "TransferConfig":
    from boto3.s3.transfer import TransferConfig

    # Small files already share one pool of threads; more threads for each only cost start-up time.
    return TransferConfig(
        multipart_threshold=_LARGE_FILE_BYTES, use_threads=size > _LARGE_FILE_BYTES
    )
