"""Published versions outside of their store: in one file, or below an `s3://` URL.

A backup has the objects that serving, rolling back and looking back need, under their keys, and at
its end a list of them with their SHA-256s (`store.restoring` reads it).
"""

import hashlib
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from store import folders, models
from store.client import Client
from store.errors import Gone, NoObject, OtherContent
from store.models import CLAIM_FILE, MANIFEST_FILE, Damaged, Manifest, Version
from store.objects import head, list_folders, list_prefix, read_chunks
from store.parallel import in_parallel
from store.sending import send
from store.urls import S3Url

LIST = "backup.json"
"""Of a backup: put last."""
OUTPUT, DATA = "output/", "data/"
"""What the names of objects begin with: the bucket that they are of."""
FORMAT = 1
_RUN_DIGITS = 12


@dataclass(frozen=True)
class Kept:
    """An object of a backup."""

    name: str
    """`output/` or `data/`, and its key."""
    size: int
    sha256: str
    """Empty while nobody has read it."""


@dataclass(frozen=True)
class Found:
    """What a backup is to have."""

    objects: Sequence[Kept]
    versions: Mapping[str, Sequence[int]]
    """Model -> numbers, the newest first."""
    damaged: Sequence[str]
    """Versions that are left out, and why."""
    without_code: Sequence[str]
    """Versions whose code is not in the bucket."""
    data_left_out: int = 0
    """How many data sets the bucket has of these versions that were not asked for."""


def look(
    client: Client, output_bucket: str, data_bucket: str, *, with_data: bool, model: str | None
) -> Found:
    """Return what a backup is to have.

    Args:
        client: the store.
        output_bucket: has models and runs.
        data_bucket: has code and data.
        with_data: the data sets, too.
        model: versions of this one only; None: of all.
    """
    objects: dict[str, Kept] = {}
    versions: dict[str, list[int]] = {}
    damaged, without = [], []
    unasked: set[str] = set()
    for name in list_folders(client, S3Url(output_bucket, "models")):
        if model not in (None, name):
            continue
        for version, manifest in models.check(client, S3Url(output_bucket, f"models/{name}")):
            if isinstance(manifest, Damaged):
                damaged.append(f"{name} {version.number}: {manifest.problem}")
                continue
            versions.setdefault(name, []).append(version.number)
            made_of = manifest.document.get("provenance") or {}
            parts = [made_of.get("code_sha256"), made_of.get("data_sha256") if with_data else None]
            for part, digest in zip(("code", "data"), parts, strict=True):
                if digest and not _folder(client, data_bucket, str(digest), objects):
                    without.append(f"{name} {version.number}: its {part}")
            if not with_data and made_of.get("data_sha256"):
                unasked.add(str(made_of["data_sha256"]))
            _run(client, output_bucket, manifest.run_hash, objects)
            _version(version, manifest, objects)
    left_out = sum(_is_there(client, folders.index(data_bucket, one)) for one in unasked)
    return Found(list(objects.values()), versions, damaged, without, left_out)


def _is_there(client: Client, url: S3Url) -> bool:
    try:
        head(client, url)
    except Gone:
        return False
    return True


def _folder(client: Client, bucket: str, digest: str, objects: dict[str, Kept]) -> bool:
    url = folders.index(bucket, digest)
    name = f"{DATA}{url.prefix}"
    if name in objects:
        return True
    try:
        entries, size = folders.entries(client, url), head(client, url)["ContentLength"]
    except NoObject:
        return False
    for one in entries:
        blob = f"{DATA}{one.url.prefix}"
        objects[blob] = Kept(blob, one.size, one.sha256)
    objects[name] = Kept(name, size, "")
    return True


def _run(client: Client, bucket: str, run_hash: str, objects: dict[str, Kept]) -> None:
    """Take what `runs` and `logs` show. Checkpoints and event files are not needed any more."""
    for file in ("log.txt", "run.json"):
        key = f"runs/{run_hash[:_RUN_DIGITS]}/{file}"
        try:
            size = head(client, S3Url(bucket, key))["ContentLength"]
        except Gone:
            continue
        objects[f"{OUTPUT}{key}"] = Kept(f"{OUTPUT}{key}", size, "")


def _version(version: Version, manifest: Manifest, objects: dict[str, Kept]) -> None:
    """Take a version's files, its manifest last."""
    prefix = f"{OUTPUT}{version.url.prefix}/"
    for file in manifest.files:
        objects[prefix + file.path] = Kept(prefix + file.path, file.size, file.sha256)
    for path in (CLAIM_FILE, MANIFEST_FILE):
        if path in version.objects:
            objects[prefix + path] = Kept(prefix + path, version.objects[path].size, "")


def to_file(
    client: Client, buckets: Mapping[str, str], found: Found, file: Path, **about: str
) -> int:
    """Write a backup into a file, which gets its name when all of it is there.

    Args:
        client: the store.
        buckets: `output/` and `data/` -> name of the bucket.
        found: from `look`.
        file: there is none of that name.
        about: what the list says besides.

    Returns:
        Its size in bytes.

    Raises:
        StoreError: an object is not what its manifest says, or is gone by now.
        OSError: the file can't be written.
    """
    made = file.with_name(f".{file.name}.partial")
    try:
        with (
            made.open("wb") as out,
            tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            kept = []
            for one in found.objects:
                content = Hashed(read_chunks(client, place_of(buckets, one)))
                tar.addfile(_member(one.name, one.size), content)
                kept.append(content.checked(one, place_of(buckets, one)))
            text = _list(kept, found, about)
            tar.addfile(_member(LIST, len(text)), BytesIO(text))
            tar.close()
            out.flush()
            os.fsync(out.fileno())
        made.rename(file)
    finally:
        made.unlink(missing_ok=True)
    return file.stat().st_size


def to_store(
    client: Client,
    buckets: Mapping[str, str],
    found: Found,
    target: Client,
    url: S3Url,
    **about: str,
) -> int:
    """Write a backup below a URL; what lies there of an earlier try is not sent again.

    Args and errors as for `to_file`.

    Returns:
        How many objects were sent.
    """
    prefix = url.folder_prefix
    there = {
        entry.path[len(prefix) :]: entry.size for entry in list_prefix(target, url.bucket, prefix)
    }

    def one(kept: Kept) -> tuple[Kept, bool]:
        # What is named after its content, or is listed in a manifest, is never written anew.
        if kept.sha256 and there.get(kept.name) == kept.size:
            found = sha256_of(read_chunks(target, url / kept.name))
            if found == kept.sha256:
                return kept, False
        content = Hashed(read_chunks(client, place_of(buckets, kept)))
        sent = send(target, content, url / kept.name, kept.size, sha256=kept.sha256)
        return Kept(kept.name, sent.size, sent.sha256), True

    done = in_parallel(one, found.objects)
    text = _list([kept for kept, _ in done], found, about)
    send(target, BytesIO(text), url / LIST, len(text))
    return sum(sent for _, sent in done)


def place_of(buckets: Mapping[str, str], kept: Kept) -> S3Url:
    kind, _, key = kept.name.partition("/")
    return S3Url(buckets[f"{kind}/"], key)


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    member.mtime = int(datetime.now(UTC).timestamp())
    return member


def _list(kept: Iterable[Kept], found: Found, about: Mapping[str, str]) -> bytes:
    document = {
        "format": FORMAT,
        **about,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: list(numbers) for name, numbers in found.versions.items()},
        "objects": [[one.name, one.size, one.sha256] for one in kept],
    }
    return json.dumps(document, indent=1).encode()


def sha256_of(chunks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


class Hashed:
    """Chunks as a file that is read, hashed on the way."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._left = chunks, b""
        self._digest, self._size = hashlib.sha256(), 0

    def read(self, size: int = -1, /) -> bytes:
        while len(self._left) < size or size < 0:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._left += chunk
        content, self._left = (
            (self._left, b"") if size < 0 else (self._left[:size], self._left[size:])
        )
        self._digest.update(content)
        self._size += len(content)
        return content

    def checked(self, kept: Kept, url: S3Url) -> Kept:
        """Return what was read, which must be what was to be."""
        found = Kept(kept.name, self._size, self._digest.hexdigest())
        if found.size != kept.size or self.read(1) or kept.sha256 not in ("", found.sha256):
            raise OtherContent(f"'{url}' was written while it was read. Run the command again.")
        return found
