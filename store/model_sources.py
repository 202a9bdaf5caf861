"""SavedModels that can be copied into a bucket as a published version, whoever made them.

Such a one is a version's folder (with a manifest), a model's folder (its newest version counts) or
any folder with a SavedModel, in a store or on this machine.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store import models
from store.client import Client
from store.errors import StoreError
from store.models import CLAIM_FILE, MANIFEST_FILE, SAVED_MODEL, Damaged, Manifest, ModelFile
from store.objects import StoredObject, list_files
from store.parallel import in_parallel
from store.sending import PART_BYTES, send
from store.transfers import copy_within, upload_hashed
from store.urls import S3Url

_BEGINS = (b"\x08", b"\x12")
"""The first byte of a SavedModel's message: its field 1 (the version of the schema) or 2."""
_NAMED = 3
"""So many files are named."""
_CHUNK_BYTES = 2**20


class NoModel(StoreError):
    """There is no SavedModel where one was looked for."""


@dataclass(frozen=True)
class SourceFile:
    """A file of a model that can be copied."""

    path: str
    """Relative to the model, with `/` between its parts."""
    size: int
    """Bytes."""
    sha256: str
    """Empty: it is known when the file was read."""
    etag: str
    """What tells the content from another; empty on this machine."""


@dataclass(frozen=True)
class Source:
    """A model that can be copied."""

    place: S3Url | Path
    """Its folder."""
    files: Sequence[SourceFile]
    manifest: Manifest | None
    """What it says of itself, if it was published as a version."""

    @property
    def identity(self) -> str:
        """64 digits that another content does not have, for the same kind of place."""
        return _digest([[one.path, one.size, one.sha256 or one.etag] for one in self.files])


def content_of(files: Sequence[ModelFile]) -> str:
    """Return the identity of a source with these files."""
    return _digest([[one.path, one.size, one.sha256] for one in files])


def _digest(files: Sequence[Sequence[Any]]) -> str:
    return hashlib.sha256(json.dumps(sorted(files)).encode()).hexdigest()


def find(client: Client, url: S3Url) -> Source:
    """Return the model below `url`.

    Raises:
        NoModel: there is none.
        Damaged: it is not what was published.
    """
    there = {entry.path: entry for entry in list_files(client, url)}
    if not there:
        raise NoModel(f"There is nothing at '{url}'. Put a SavedModel there, or correct the URL.")
    if MANIFEST_FILE in there:
        name = url.prefix.rpartition("/")[2]
        version = models.Version(int(name) if _is_number(name) else 0, url, there)
        manifest = models.read_manifest(client, url)
        models.require_intact(client, version, manifest)
        return _published(version, manifest)
    if SAVED_MODEL in there:
        return _plain(client, url, there)
    numbers = {int(name) for name in (path.partition("/")[0] for path in there) if _is_number(name)}
    is_ours = any(
        f"{one}/{name}" in there for one in numbers for name in (MANIFEST_FILE, CLAIM_FILE)
    )
    if is_ours:
        newest = models.newest(client, url)
        if newest is None:
            raise NoModel(f"'{url}' has no version that is intact. Publish one there.")
        return _published(*newest)
    for number in sorted(numbers, reverse=True):
        if f"{number}/{SAVED_MODEL}" in there:
            prefix = f"{number}/"
            own = {
                path.removeprefix(prefix): entry
                for path, entry in there.items()
                if path.startswith(prefix)
            }
            return _plain(client, url / str(number), own)
    raise NoModel(
        f"'{url}' has no SavedModel: neither '{SAVED_MODEL}' nor versions with one. It has "
        f"{_named(there)}. Name the folder that '{SAVED_MODEL}' is in."
    )


Sums = Callable[[Path, Sequence[str]], Mapping[str, str]]
"""Returns path -> SHA-256 of files of a folder."""


def in_folder(folder: Path, sums: Sums) -> Source:
    """Return the model in a folder of this machine, hashed by `sums`.

    Raises:
        NoModel: there is none.
    """
    if not folder.is_dir():
        raise NoModel(f"'{folder}' is not a folder. Name the one that '{SAVED_MODEL}' is in.")
    if not (folder / SAVED_MODEL).is_file():
        numbers = [int(one.name) for one in folder.iterdir() if _is_number(one.name)]
        for number in sorted(numbers, reverse=True):
            if (folder / str(number) / SAVED_MODEL).is_file():
                return in_folder(folder / str(number), sums)
        found = _named(sorted(one.name for one in folder.iterdir()))
        raise NoModel(
            f"'{folder}' has no SavedModel: neither '{SAVED_MODEL}' nor versions with one. It has "
            f"{found}. Name the folder that '{SAVED_MODEL}' is in."
        )
    with (folder / SAVED_MODEL).open("rb") as file:
        _require_saved_model(file.read(1), str(folder / SAVED_MODEL))
    paths = sorted(one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file())
    files = [
        SourceFile(path, (folder / path).stat().st_size, sha256, "")
        for path, sha256 in sums(folder, paths).items()
    ]
    return Source(folder, files, None)


def copy(client: Client | None, source: Source, target: Client, url: S3Url) -> list[ModelFile]:
    """Copy a model's files below `url`; return what a manifest says of them.

    Args:
        client: of the source; None: it is on this machine. What lies in the store of `target`,
            under the same credentials, does not come through this machine.
        source: from `find` or `in_folder`.
        target: of the copy.
        url: of its folder.

    Raises:
        Damaged: a file is not what the manifest says.
        Changed: a file was written since it was looked at.
        OtherContent: the same, of one on this machine.
    """

    def one(file: SourceFile) -> ModelFile:
        if isinstance(source.place, Path):
            with (source.place / file.path).open("rb") as content:
                upload_hashed(target, content, url / file.path, file.sha256)
            return ModelFile(file.path, file.size, file.sha256)
        assert client is not None
        place = source.place / file.path
        if client is target and file.sha256:
            copy_within(client, place, url / file.path, file.size, file.etag)
            return ModelFile(file.path, file.size, file.sha256)
        return _stream(client, place, file, target, url / file.path)

    small = {file.path: file for file in source.files if file.size < PART_BYTES}
    found = dict(zip(small, in_parallel(one, small.values()), strict=True))
    # A large one is sent by several threads.
    return [found.get(file.path) or one(file) for file in source.files]


def _stream(
    client: Client, place: S3Url, file: SourceFile, target: Client, url: S3Url
) -> ModelFile:
    with client.explained(f"read '{place}'"):
        answer = client.s3.get_object(Bucket=place.bucket, Key=place.prefix, IfMatch=file.etag)
    with target.explained(f"copy '{place}' to '{url}'"), closing(answer["Body"]) as body:
        sent = send(target, body, url, file.size)
    found = ModelFile(file.path, sent.size, sent.sha256)
    if file.sha256:
        expected = ModelFile(file.path, file.size, file.sha256)
        models.require_same(place, expected, found.size, found.sha256)
    return found


def _published(version: models.Version, manifest: Manifest) -> Source:
    files = [
        SourceFile(one.path, one.size, one.sha256, version.objects[one.path].etag)
        for one in manifest.files
    ]
    if SAVED_MODEL not in {one.path for one in files}:
        raise Damaged(f"The manifest of '{version.url}' names no '{SAVED_MODEL}'")
    return Source(version.url, files, manifest)


def _plain(client: Client, url: S3Url, there: Mapping[str, StoredObject]) -> Source:
    place = url / SAVED_MODEL
    if there[SAVED_MODEL].size:
        with client.explained(f"read '{place}'"):
            answer = client.s3.get_object(Bucket=place.bucket, Key=place.prefix, Range="bytes=0-0")
            begins = answer["Body"].read()
    else:
        begins = b""
    _require_saved_model(begins, str(place))
    files = [SourceFile(path, one.size, "", one.etag) for path, one in sorted(there.items())]
    return Source(url, files, None)


def _require_saved_model(begins: bytes, name: str) -> None:
    if begins not in _BEGINS:
        raise NoModel(f"'{name}' is not a SavedModel. Export the model as one, and put it there.")


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and str(int(name)) == name != "0"


def _named(paths: Any) -> str:
    paths = list(paths)
    shown = ", ".join(f"'{path}'" for path in paths[:_NAMED]) or "nothing"
    return shown + (f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else "")
