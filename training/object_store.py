"""The object store as this package uses it: boto3 from the environment, errors in one line each."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

from training.command_line import TrainingError

TRANSFER_THREADS = 16
# Above this size one file is moved in parts, several at a time.
LARGE_FILE_BYTES = 64 * 2**20
_REFUSED = {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "Forbidden"}
_NO_BUCKET = {"NoSuchBucket"}
_GONE = {"404", "NoSuchKey", "NotFound"}
_EXISTS = {"PreconditionFailed", "ConditionalRequestConflict", "412"}
_URL = re.compile(r"s3://(?P<bucket>[^/]+)(?:/(?P<prefix>.*))?")


_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class StoreError(TrainingError):
    """The object store can't be used, or refused a request."""


class ObjectGone(StoreError):
    """The object does not exist, or is no longer the one that was listed."""


@dataclass(frozen=True)
class S3Url:
    """`s3://bucket/prefix`, without a slash at the end."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, url: str, flag: str) -> "S3Url":
        """Raise TrainingError, naming the flag, unless `url` is `s3://bucket/prefix`."""
        match = _URL.fullmatch(url)
        if match is None:
            raise TrainingError(f"--{flag}={url!r} is no s3://bucket/prefix. Give it in that form.")
        return cls(match["bucket"], (match["prefix"] or "").strip("/"))

    def __truediv__(self, path: str) -> "S3Url":
        return S3Url(self.bucket, f"{self.prefix}/{path}" if self.prefix else path)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def folder_prefix(self) -> str:
        """The key prefix that matches what is below this URL, not `prefix-other`."""
        return f"{self.prefix}/" if self.prefix else ""


@dataclass(frozen=True)
class StoredObject:
    """One object below a URL; `path` is relative to that URL, `size` in bytes."""

    path: str
    size: int
    etag: str


class ObjectStore:
    """An S3 client whose place and credentials come from AWS_* variables. Safe to share by threads.

    Every method raises StoreError when the store can't be reached, refuses, or has no such bucket.
    """

    def __init__(self) -> None:
        self.endpoint = os.environ.get("AWS_ENDPOINT_URL_S3", "") or "Amazon S3"
        own_endpoint = "AWS_ENDPOINT_URL_S3" in os.environ
        with self._explained("the object store"):
            self._client: Any = boto3.client(
                "s3",
                # boto3 itself reads only AWS_DEFAULT_REGION.
                region_name=os.environ.get("AWS_REGION")
                or os.environ.get("AWS_DEFAULT_REGION")
                or "us-east-1",
                config=Config(
                    s3={"addressing_style": "path" if own_endpoint else "auto"},
                    # A store that is started anew is waited for, some seconds.
                    connect_timeout=3,
                    read_timeout=30,
                    retries={"mode": "adaptive", "total_max_attempts": 5},
                    max_pool_connections=2 * TRANSFER_THREADS,
                ),
            )

    def objects(self, url: S3Url) -> Iterator[StoredObject]:
        """Yield all objects below `url`, in the order of their keys."""
        prefix = url.folder_prefix
        with self._explained(url):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=url.bucket, Prefix=prefix
            )
            for page in pages:
                for entry in page.get("Contents", ()):
                    path = entry["Key"][len(prefix) :]
                    # Some tools put empty objects in the place of folders.
                    if path and not path.endswith("/"):
                        yield StoredObject(path, entry["Size"], entry["ETag"])

    def list_folders(self, url: S3Url) -> Iterator[str]:
        """Yield the names of the folders directly below `url`."""
        prefix = url.folder_prefix
        with self._explained(url):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=url.bucket, Prefix=prefix, Delimiter="/"
            )
            for page in pages:
                for entry in page.get("CommonPrefixes", ()):
                    yield entry["Prefix"][len(prefix) : -1]

    def read(self, url: S3Url, *, first_byte: int = 0, etag: str | None = None) -> bytes:
        """Return an object's bytes from `first_byte` on; with `etag`, only of that content.

        Raises ObjectGone when there is no such object, or it has another content by now.
        """
        options: dict[str, Any] = {"Range": f"bytes={first_byte}-"} if first_byte else {}
        if etag:
            options["IfMatch"] = etag
        with self._explained(url):
            answer = self._client.get_object(Bucket=url.bucket, Key=url.prefix, **options)
            content: bytes = answer["Body"].read()
            return content

    def write(self, url: S3Url, content: bytes) -> None:
        """Put an object, over an older one if there is one."""
        with self._explained(url):
            self._client.put_object(
                Bucket=url.bucket, Key=url.prefix, Body=content, ChecksumAlgorithm="SHA256"
            )

    def create(self, url: S3Url, content: bytes) -> bool:
        """Put an object unless it exists; of several callers one gets True."""
        with self._explained(url):
            try:
                self._client.put_object(
                    Bucket=url.bucket,
                    Key=url.prefix,
                    Body=content,
                    IfNoneMatch="*",
                    ChecksumAlgorithm="SHA256",
                )
            except ClientError as error:
                if error.response["Error"].get("Code") in _EXISTS:
                    return False
                raise
        return True

    def delete(self, url: S3Url) -> None:
        """Delete an object; one that does not exist is no error."""
        with self._explained(url):
            self._client.delete_object(Bucket=url.bucket, Key=url.prefix)

    def upload_file(self, file: Path, url: S3Url) -> None:
        """Put a file with a SHA256 checksum, which the store verifies."""
        with self._explained(url):
            self._client.upload_file(
                str(file),
                url.bucket,
                url.prefix,
                ExtraArgs={"ChecksumAlgorithm": "SHA256"},
                Config=_transfer_config(file.stat().st_size),
            )

    def fetch_file(self, url: S3Url, target: Path, size: int) -> None:
        """Get an object of `size` bytes as a file, which appears only when complete."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._explained(url):
            self._client.download_file(
                url.bucket, url.prefix, str(target), Config=_transfer_config(size)
            )

    def fetch_folder(self, url: S3Url, target: Path) -> list[StoredObject]:
        """Get all objects below `url` into the folder `target`; return what was there."""
        objects = list(self.objects(url))
        self.fetch_objects(url, objects, target)
        return objects

    def fetch_objects(self, url: S3Url, objects: Iterable[StoredObject], target: Path) -> None:
        """Get some of the objects below `url` into the folder `target`.

        Raises ObjectGone when one was deleted since they were listed.
        """
        objects = list(objects)
        for entry in objects:
            if ".." in PurePosixPath(entry.path).parts or entry.path.startswith("/"):
                raise StoreError(f"'{url}' has the unsafe key {entry.path!r}. Delete that object.")
        in_parallel(
            lambda entry: self.fetch_file(url / entry.path, target / entry.path, entry.size),
            objects,
        )

    @contextmanager
    def _explained(self, url: "S3Url | str") -> Iterator[None]:
        try:
            yield
        except (ClientError, BotoCoreError, Boto3Error, ValueError) as error:
            raise self._explanation(error, url) from error

    def _explanation(self, error: Exception, url: "S3Url | str") -> StoreError:
        cause = error.__context__ if isinstance(error, Boto3Error) else error
        if isinstance(cause, NoCredentialsError | PartialCredentialsError):
            return StoreError(
                f"No credentials for '{url}'. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            )
        if isinstance(cause, ConnectionError | HTTPClientError):
            return StoreError(
                f"The object store '{self.endpoint}' can't be reached for '{url}' "
                f"({type(cause).__name__}). Check AWS_ENDPOINT_URL_S3 and the network."
            )
        if not isinstance(cause, ClientError):
            return StoreError(f"'{url}' can't be used: {str(error).splitlines()[0]}")
        code = str(cause.response["Error"].get("Code", ""))
        if code in _REFUSED:
            return StoreError(
                f"The object store '{self.endpoint}' refused the credentials for '{url}' ({code}). "
                "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what they may do."
            )
        if code in _NO_BUCKET:
            bucket = url.bucket if isinstance(url, S3Url) else url
            return StoreError(
                f"Bucket '{bucket}' of '{url}' does not exist at '{self.endpoint}'. "
                "Create it, or correct the URL."
            )
        if code in _GONE or code in _EXISTS or code == "InvalidRange":
            return ObjectGone(
                f"'{url}' does not exist at '{self.endpoint}', or has changed ({code}). "
                "Correct the URL, or AWS_ENDPOINT_URL_S3."
            )
        return StoreError(f"The object store '{self.endpoint}' failed for '{url}': {cause}")


def in_parallel(action: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """Return `action` of each item, called from several threads; raise the first error at once."""
    pool = ThreadPoolExecutor(TRANSFER_THREADS, thread_name_prefix="transfer")
    try:
        futures = [pool.submit(action, item) for item in items]
        return [future.result() for future in futures]
    finally:
        # Without waiting: after an error, or a signal, nobody wants the rest.
        pool.shutdown(wait=False, cancel_futures=True)


def _transfer_config(size: int) -> TransferConfig:
    # Small files already share one pool of threads; more threads for each only cost start-up time.
    return TransferConfig(multipart_threshold=LARGE_FILE_BYTES, use_threads=size > LARGE_FILE_BYTES)
