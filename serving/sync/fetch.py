"""Copy one published model version from the bucket to local disk.

The version appears under its number only when it is whole and each file has the SHA-256 of its
manifest, so that a server that watches the folder never sees half a model.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from . import object_store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MANIFEST = "manifest.json"
_CHUNK_BYTES = 1 << 20


class SyncError(Exception):
    """The version can't be copied; the text says why and what to do, in one line."""


@dataclass(frozen=True)
class Source:
    """The published versions of one model: `s3://bucket/prefix/<version>/...`."""

    s3: S3Client
    bucket: str
    prefix: str

    def key(self, version: int, path: str) -> str:
        """Return the object key of a file of a version."""
        return "/".join(filter(None, (self.prefix, str(version), path)))

    def url(self, version: int, path: str = "") -> str:
        """Return the same for people."""
        return f"s3://{self.bucket}/{self.key(version, path)}"

    def read_manifest(self, version: int) -> bytes | None:
        """Return a version's manifest; None when the version is not (yet) published."""
        try:
            found = self.s3.get_object(Bucket=self.bucket, Key=self.key(version, MANIFEST))
        except ClientError as error:
            if error.response["Error"].get("Code") in object_store.MISSING:
                return None
            raise
        return found["Body"].read()

    def versions(self) -> list[int]:
        """Return the published versions, lowest first."""
        prefix = f"{self.prefix}/" if self.prefix else ""
        pages = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=prefix, Delimiter="/"
        )
        names = [
            entry["Prefix"].removeprefix(prefix).rstrip("/")
            for page in pages
            for entry in page.get("CommonPrefixes", [])
        ]
        return sorted(
            int(name)
            for name in names
            if name.isascii() and name.isdigit() and self.read_manifest(int(name)) is not None
        )


@dataclass(frozen=True)
class File:
    """One file of the manifest."""

    path: str
    size: int
    sha256: str


def sync(source: Source, version: int, target: Path) -> bool:
    """Copy a version to `target/<version>`; one process at a time for a target.

    Returns:
        Whether anything had to be copied.

    Raises:
        SyncError: the version is not published, or what arrived is not what was published.
        OSError: no space, or no permission.
        BotoCoreError, ClientError: the store failed.
    """
    final = target / str(version)
    if _is_complete(final):
        return False
    manifest = source.read_manifest(version)
    if manifest is None:
        known = ", ".join(map(str, source.versions())) or "none"
        raise SyncError(
            f"{source.url(version)} is not a published version. Published versions: {known}."
        )
    files = _parse(manifest, source.url(version, MANIFEST))
    target.mkdir(parents=True, exist_ok=True)
    # Not a number, so no server takes it for a version. The name is fixed: what a killed run left
    # is removed by the next one.
    partial = target / f".{version}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        with ThreadPoolExecutor(object_store.CONNECTIONS) as threads:
            tasks = [threads.submit(_fetch, source, version, file, partial) for file in files]
            try:
                for task in tasks:
                    task.result()
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise
        (partial / MANIFEST).write_bytes(manifest)
        if final.exists():
            # Left incomplete by other hands; renaming onto it would fail.
            shutil.rmtree(final)
        os.rename(partial, final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return True


def _fetch(source: Source, version: int, file: File, folder: Path) -> None:
    path = folder / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    size = 0
    try:
        body = source.s3.get_object(Bucket=source.bucket, Key=source.key(version, file.path))[
            "Body"
        ]
    except ClientError as error:
        if error.response["Error"].get("Code") in object_store.MISSING:
            raise SyncError(
                f"{source.url(version, file.path)} is in the manifest but not in the bucket. "
                "Publish the model again."
            ) from None
        raise
    with closing(body), path.open("wb") as out:
        for chunk in body.iter_chunks(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
            out.write(chunk)
    if size != file.size or digest.hexdigest() != file.sha256:
        raise SyncError(
            f"{source.url(version, file.path)} has {size} bytes with SHA-256 "
            f"{digest.hexdigest()}, its manifest says {file.size} and {file.sha256}. "
            "Publish the model again."
        )


def _parse(manifest: bytes, url: str) -> list[File]:
    try:
        files = [
            File(str(entry["path"]), int(entry["size"]), str(entry["sha256"]))
            for entry in json.loads(manifest)["files"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise SyncError(f"{url} is not a manifest ({error!r}). Publish the model again.") from None
    for file in files:
        path = PurePosixPath(file.path)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise SyncError(f"{url} names a file outside its version: '{file.path}'.")
    return files


def _is_complete(folder: Path) -> bool:
    """Whether an earlier run left the whole version; it checked the contents."""
    try:
        files = _parse((folder / MANIFEST).read_bytes(), str(folder))
        return all((folder / file.path).stat().st_size == file.size for file in files)
    except (OSError, SyncError):
        return False
