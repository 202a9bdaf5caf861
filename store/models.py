"""Published models: how they lie in a bucket (docs/contracts.md), and whether one is intact.

Who publishes, who serves and who looks after both read them here, so that none of them takes a
version for good that another refuses.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from store.client import Client
from store.creation import create
from store.errors import NoObject, StoreError
from store.objects import StoredObject, list_files, read, read_chunks
from store.parallel import THREADS, in_parallel
from store.urls import S3Url

MANIFEST_FILE = "manifest.json"
"""Put last: a version without it does not exist for readers."""
CLAIM_FILE = ".claim"
"""Put first: who made it owns the number."""
SAVED_MODEL = "saved_model.pb"
"""The file of a SavedModel that every one has."""


class Damaged(StoreError):
    """A published version is not what was published."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}. Publish the model again: 'pulumi up' does.")
        self.problem = problem
        """What is wrong, without what to do."""
        self.run_hash = ""
        """Of the run that published it, if its manifest says so."""


@dataclass(frozen=True)
class ModelFile:
    """One file of a manifest."""

    path: str
    """Relative to the version, with `/` between its parts."""
    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a version says of itself."""

    document: Mapping[str, Any]
    """All of it, as published."""
    files: Sequence[ModelFile]
    run_hash: str
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class Version:
    """A number that was claimed, as it was when the bucket was listed."""

    number: int
    url: S3Url
    """Of its folder."""
    objects: Mapping[str, StoredObject]
    """By path, relative to the folder."""

    @property
    def is_published(self) -> bool:
        """Say whether readers see it."""
        return MANIFEST_FILE in self.objects


@dataclass(frozen=True)
class Found:
    """The newest intact version of a run, and why newer ones were not taken."""

    version: Version | None
    manifest: Manifest | None
    damaged: Sequence[Damaged] = ()
    """Of versions of this run, or of one that can't be told. The newest first."""


def versions(client: Client, model_url: S3Url) -> list[Version]:
    """Return all claimed versions of the model below `model_url`, the newest first."""
    found: dict[int, dict[str, StoredObject]] = {}
    for entry in list_files(client, model_url):
        name, _, path = entry.path.partition("/")
        if path and name.isascii() and name.isdigit() and str(int(name)) == name != "0":
            found.setdefault(int(name), {})[path] = entry
    return [
        Version(number, model_url / str(number), objects)
        for number, objects in sorted(found.items(), reverse=True)
    ]


def published(client: Client, model_url: S3Url) -> list[Version]:
    """Return the versions that readers see, the newest first."""
    return [version for version in versions(client, model_url) if version.is_published]


def claim(client: Client, model_url: S3Url, run_hash: str) -> int:
    """Own the next version number, however many others want one at the same time."""
    version = max((one.number for one in versions(client, model_url)), default=0) + 1
    content = json.dumps({"run_hash": run_hash}).encode()
    while not create(client, model_url / f"{version}/{CLAIM_FILE}", content):
        version += 1
    return version


def newest_of_run(
    client: Client, model_url: S3Url, run_hash: str, *, thoroughly: bool = False
) -> Found:
    """Return the newest intact version that was made by `run_hash`.

    Args:
        client: the store.
        model_url: of the model.
        run_hash: 64 digits.
        thoroughly: read all files of that version, too.
    """
    left, damaged = published(client, model_url), []
    while left:
        # Nearly always it is among the newest.
        some, left = left[:THREADS], left[THREADS:]
        for version, manifest in zip(
            some, in_parallel(lambda one: _manifest_or_damage(client, one), some), strict=True
        ):
            if isinstance(manifest, Damaged):
                damaged.append(manifest)
            elif manifest.run_hash == run_hash:
                try:
                    require_intact(client, version, manifest, thoroughly=thoroughly)
                except Damaged as error:
                    damaged.append(error)
                else:
                    return Found(version, manifest, damaged)
    return Found(None, None, damaged)


def newest(client: Client, model_url: S3Url) -> tuple[Version, Manifest] | None:
    """Return the newest version that is as it was published; None: there is none."""
    for version in published(client, model_url):
        try:
            manifest = read_manifest(client, version.url)
            require_intact(client, version, manifest)
        except (Damaged, NoObject):
            continue
        return version, manifest
    return None


def intact(client: Client, model_url: S3Url) -> list[tuple[Version, Manifest]]:
    """Return the versions that are as they were published, the newest first."""
    return [
        (version, manifest)
        for version, manifest in check(client, model_url)
        if not isinstance(manifest, Damaged)
    ]


def check(client: Client, model_url: S3Url) -> list[tuple[Version, Manifest | Damaged]]:
    """Return all published versions with their manifests or what is wrong, the newest first."""
    found = published(client, model_url)

    def look(version: Version) -> Manifest | Damaged:
        manifest = _manifest_or_damage(client, version)
        if isinstance(manifest, Manifest):
            try:
                require_intact(client, version, manifest)
            except Damaged as error:
                error.run_hash = manifest.run_hash
                return error
        return manifest

    return list(zip(found, in_parallel(look, found), strict=True))


def read_manifest(client: Client, version_url: S3Url) -> Manifest:
    """Return the manifest of a version.

    Raises:
        NoObject: the version is not published.
        Damaged: it is no manifest.
    """
    url = version_url / MANIFEST_FILE
    return parse_manifest(read(client, url), str(url))


def parse_manifest(content: bytes, name: str) -> Manifest:
    """Return what a manifest says; raise Damaged with its `name` if it is none."""
    try:
        document = dict(json.loads(content))
        files = [
            ModelFile(str(entry["path"]), int(entry["size"]), str(entry["sha256"]))
            for entry in document["files"]
        ]
        run_hash, metrics = str(document.get("run_hash", "")), dict(document.get("metrics", {}))
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"'{name}' is not a manifest ({error!r})") from None
    for file in files:
        path = PurePosixPath(file.path)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise Damaged(f"'{name}' names a file outside its version: '{file.path}'")
    return Manifest(document, files, run_hash, metrics)


def require_intact(
    client: Client, version: Version, manifest: Manifest, *, thoroughly: bool = False
) -> None:
    """Raise Damaged unless each file of the manifest is there, as it was when it was published.

    What was written later than the manifest is read and compared; the rest only `thoroughly`.
    """
    until = version.objects[MANIFEST_FILE].modified
    for file in manifest.files:
        found = version.objects.get(file.path)
        if found is None:
            raise missing(version.url / file.path)
        if found.size != file.size:
            raise Damaged(
                f"'{version.url / file.path}' has {found.size} bytes, its manifest says {file.size}"
            )
    in_parallel(
        lambda file: _compare(client, version.url / file.path, file),
        [
            file
            for file in manifest.files
            if thoroughly or version.objects[file.path].modified > until
        ],
    )


def missing(url: S3Url) -> Damaged:
    """Return the error that says that a file is not in the bucket."""
    return Damaged(f"'{url}' is in the manifest but not in the bucket")


def require_same(url: S3Url, file: ModelFile, size: int, sha256: str) -> None:
    """Raise Damaged unless what was read at `url` is what the manifest says of it."""
    if (size, sha256) != (file.size, file.sha256):
        raise Damaged(
            f"'{url}' has {size} bytes with SHA-256 {sha256}, its manifest says {file.size} and "
            f"{file.sha256}"
        )


def _manifest_or_damage(client: Client, version: Version) -> Manifest | Damaged:
    try:
        return read_manifest(client, version.url)
    except Damaged as error:
        return error
    except NoObject:
        # Deleted since it was listed.
        return missing(version.url / MANIFEST_FILE)


def _compare(client: Client, url: S3Url, file: ModelFile) -> None:
    digest, size = hashlib.sha256(), 0
    try:
        for chunk in read_chunks(client, url):
            digest.update(chunk)
            size += len(chunk)
    except NoObject:
        raise missing(url) from None
    require_same(url, file, size, digest.hexdigest())
