"""Copy one published model version from the bucket to local disk.

The version appears under its number only when it is whole and each file has the SHA-256 of its
manifest, so that a server that watches the folder never sees half a model.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from store.client import Client
from store.errors import NoObject
from store.objects import list_folders, read, read_chunks
from store.parallel import in_parallel
from store.urls import S3Url

MANIFEST = "manifest.json"


class SyncError(Exception):
    """The version can't be copied; the text says why and what to do, in one line."""


@dataclass(frozen=True)
class Source:
    """The published versions of one model, each in a folder below `url`."""

    client: Client
    url: S3Url

    def read_manifest(self, version: int) -> bytes | None:
        """Return a version's manifest; None when the version is not (yet) published."""
        try:
            return read(self.client, self.url / f"{version}/{MANIFEST}")
        except NoObject:
            return None

    def versions(self) -> list[int]:
        """Return the published versions, lowest first."""
        return sorted(
            int(name)
            for name in list_folders(self.client, self.url)
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
        StoreError: the store failed.
    """
    final = target / str(version)
    if _is_complete(final):
        return False
    url = source.url / str(version)
    manifest = source.read_manifest(version)
    if manifest is None:
        known = ", ".join(map(str, source.versions())) or "none"
        raise SyncError(f"{url} is not a published version. Published versions: {known}.")
    files = _parse(manifest, str(url / MANIFEST))
    target.mkdir(parents=True, exist_ok=True)
    # Not a number, so no server takes it for a version. The name is fixed: what a killed run left
    # is removed by the next one.
    partial = target / f".{version}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        # Not by whoever fetches a file: after a signal that could make the folder again.
        for folder in {(partial / file.path).parent for file in files}:
            folder.mkdir(parents=True, exist_ok=True)
        in_parallel(lambda file: _fetch(source.client, url, file, partial), files)
        (partial / MANIFEST).write_bytes(manifest)
        if final.exists():
            # Left incomplete by other hands; renaming onto it would fail.
            shutil.rmtree(final)
        os.rename(partial, final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return True


def _fetch(client: Client, version_url: S3Url, file: File, folder: Path) -> None:
    url = version_url / file.path
    digest = hashlib.sha256()
    size = 0
    try:
        with (folder / file.path).open("wb") as out:
            for chunk in read_chunks(client, url):
                digest.update(chunk)
                size += len(chunk)
                out.write(chunk)
    except NoObject:
        raise SyncError(
            f"{url} is in the manifest but not in the bucket. Publish the model again."
        ) from None
    if size != file.size or digest.hexdigest() != file.sha256:
        raise SyncError(
            f"{url} has {size} bytes with SHA-256 {digest.hexdigest()}, its manifest says "
            f"{file.size} and {file.sha256}. Publish the model again."
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
