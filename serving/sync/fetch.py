"""Copy one published model version from the bucket to local disk.

The version appears under its number only when it is whole and each file has the SHA-256 of its
manifest, so that a server that watches the folder never sees half a model.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from store import room, slowness
from store.client import Client
from store.errors import NoObject
from store.models import (
    MANIFEST_FILE,
    Damaged,
    ModelFile,
    missing,
    parse_manifest,
    published,
    require_same,
)
from store.objects import read, read_chunks
from store.parallel import in_parallel
from store.urls import S3Url


class SyncError(Exception):
    """The version can't be copied; the text says why and what to do, in one line."""


@dataclass(frozen=True)
class Source:
    """The published versions of one model, each in a folder below `url`."""

    client: Client
    url: S3Url


def sync(source: Source, version: int, target: Path, say: Callable[[str], None] = print) -> bool:
    """Copy a version to `target/<version>`; one process at a time for a target.

    Args:
        source: of the versions.
        version: its number.
        target: gets it.
        say: takes a line, in another thread, when it takes long.

    Returns:
        Whether anything had to be copied.

    Raises:
        SyncError: the version is not published.
        Damaged: what arrived is not what was published.
        NoRoom: the disk is too small.
        OSError: no space, or no permission.
        StoreError: the store failed.
    """
    final = target / str(version)
    if _is_complete(final):
        return False
    url = source.url / str(version)
    try:
        manifest = read(source.client, url / MANIFEST_FILE)
    except NoObject:
        there = sorted(one.number for one in published(source.client, source.url))
        known = ", ".join(map(str, there)) or "none"
        raise SyncError(f"{url} is not a published version. Published versions: {known}.") from None
    files = parse_manifest(manifest, str(url / MANIFEST_FILE)).files
    target.mkdir(parents=True, exist_ok=True)
    # Not a number, so no server takes it for a version. The name is fixed: what a killed run left
    # is removed by the next one.
    partial = target / f".{version}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        room.require(partial, sum(file.size for file in files), f"'{url}'")
        partial.mkdir()
        # Not by whoever fetches a file: after a signal that could make the folder again.
        for folder in {(partial / file.path).parent for file in files}:
            folder.mkdir(parents=True, exist_ok=True)
        size = sum(file.size for file in files)

        def progress(seconds: float) -> str:
            here = room.used(partial)
            return (
                f"Copying {url}: {room.in_gb(here)} of {room.in_gb(size)} in {seconds:.0f} s, "
                f"{here / 1e6 / seconds:.2f} MB/s"
            )

        with slowness.told(say, progress):
            in_parallel(lambda file: _fetch(source.client, url, file, partial), files)
        (partial / MANIFEST_FILE).write_bytes(manifest)
        if final.exists():
            # Left incomplete by other hands; renaming onto it would fail.
            shutil.rmtree(final)
        os.rename(partial, final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return True


def _fetch(client: Client, version_url: S3Url, file: ModelFile, folder: Path) -> None:
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
        raise missing(url) from None
    require_same(url, file, size, digest.hexdigest())


def _is_complete(folder: Path) -> bool:
    """Whether an earlier run left the whole version; it checked the contents."""
    try:
        files = parse_manifest((folder / MANIFEST_FILE).read_bytes(), str(folder)).files
        return all((folder / file.path).stat().st_size == file.size for file in files)
    except (OSError, Damaged):
        return False
