"""A published version as a folder of this machine: its model, its manifest, what it was made of."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi

from store import folders, models
from store.client import Client
from store.errors import NoObject
from store.fetching import fetch_file
from store.models import MANIFEST_FILE, Manifest, ModelFile
from store.objects import read
from store.parallel import in_parallel
from store.urls import S3Url

from . import tables
from .deployed import Deployed

MODEL, CODE, DATA = "model", "code", "data"
"""Folders of what is downloaded."""


@dataclass(frozen=True)
class Part:
    """A folder that was downloaded, or why it was not."""

    name: str
    files: int
    size: int
    """Bytes."""
    why_not: str = ""


@dataclass(frozen=True)
class Downloaded:
    """A version that is on this machine now."""

    model_name: str
    version: int
    folder: Path
    manifest: Manifest
    parts: Sequence[Part]


def download(
    stack: Deployed, model_name: str, number: int, folder: Path, *, with_data: bool
) -> Downloaded:
    """Get a version into `folder`, which appears when all of it is there.

    Raises:
        pulumi.RunError: the folder is not empty, or there is no such version.
        StoreError: the version is damaged, or the store can't be read.
    """
    _require_empty(folder)
    client = stack.connect()
    model_url = S3Url(stack.output_bucket, f"models/{model_name}")
    version = next(
        (one for one in models.published(client, model_url) if one.number == number), None
    )
    if version is None:
        raise pulumi.RunError(_no_version(client, model_url, model_name, number))
    manifest = models.read_manifest(client, version.url)
    models.require_intact(client, version, manifest)
    made_of = manifest.document.get("provenance") or {}
    with _appearing(folder) as made:
        parts = [_model(client, version.url, manifest, made / MODEL)]
        (made / MANIFEST_FILE).write_bytes(read(client, version.url / MANIFEST_FILE))
        for name, wanted in ((CODE, True), (DATA, with_data)):
            digest = str(made_of.get(f"{name}_sha256") or "")
            url = folders.index(stack.data_bucket, digest)
            parts.append(_folder(client, name, url if digest else None, made / name, wanted))
    return Downloaded(model_name, number, folder, manifest, parts)


def _model(client: Client, url: S3Url, manifest: Manifest, target: Path) -> Part:
    def one(file: ModelFile) -> None:
        fetch_file(client, url / file.path, target / file.path, file.size)
        with (target / file.path).open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
        size = (target / file.path).stat().st_size
        models.require_same(url / file.path, file, size, found)

    in_parallel(one, manifest.files)
    return Part(MODEL, len(manifest.files), sum(one.size for one in manifest.files))


def _folder(client: Client, name: str, url: S3Url | None, target: Path, wanted: bool) -> Part:
    if url is None:
        return Part(name, 0, 0, "its manifest says nothing of it")
    try:
        found = folders.fetch(client, url, target) if wanted else folders.entries(client, url)
    except NoObject:
        # Of a data set in a bucket of its own the manifest has a digest, too.
        where = (
            "it was read from a bucket that isn't the stack's, was pruned, or the version comes "
            "from a backup that was made without --data"
            if name == DATA
            else "it was uploaded by an earlier dlstack, elsewhere, or was pruned"
        )
        return Part(name, 0, 0, f"not in the stack's bucket: {where}")
    size = sum(one.size for one in found)
    return Part(name, len(found), size, "" if wanted else "not asked for: --data")


def _require_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.is_dir():
        raise pulumi.RunError(
            f"The folder '{folder}' is not empty. Name one that is, or a new one."
        )
    if os.path.lexists(folder):
        raise pulumi.RunError(f"'{folder}' is there, and is not a folder. Name a new one.")


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """Yield a folder beside `folder` that gets its name at the end, if all went well."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        yield made
        # As any new folder: the temporary one is this user's alone.
        made.chmod(0o777 & ~_umask())
        if folder.is_dir():
            folder.rmdir()
        made.rename(folder)
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _unwritable(folder: Path, error: OSError) -> pulumi.RunError:
    return pulumi.RunError(
        f"Can't write '{folder}': {error.strerror or error}. Name another folder, or make room."
    )


def _no_version(client: Client, url: S3Url, model_name: str, number: int) -> str:
    there = [str(one.number) for one in models.published(client, url)]
    known = f"It has {', '.join(there)}" if there else "It has none"
    return f"The model '{model_name}' has no version {number}. {known}; another one: --model NAME."


def as_text(found: Downloaded, width: int | None) -> str:
    """Return what `python -m infra download` prints."""
    rows = [
        (
            one.name,
            f"{one.files} files" if one.files != 1 else "1 file",
            tables.size(one.size),
            one.why_not or f"{found.folder / one.name}/",
        )
        if one.files
        else (one.name, "", "", one.why_not)
        for one in found.parts
    ]
    rows.insert(1, ("manifest", "1 file", "", str(found.folder / MANIFEST_FILE)))
    return tables.table(rows, width, wrapped=3)


def as_json(found: Downloaded) -> dict[str, Any]:
    """Return what `--json` prints. Keys are only ever added."""
    return {
        "model": found.model_name,
        "version": found.version,
        "folder": str(found.folder),
        "manifest": json.loads(json.dumps(dict(found.manifest.document))),
        "parts": [
            {
                "name": one.name,
                "files": one.files,
                "bytes": one.size,
                "folder": None if one.why_not else str(found.folder / one.name),
                "reason": one.why_not or None,
            }
            for one in found.parts
        ],
    }
