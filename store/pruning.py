"""What of a stack's buckets nothing needs any more: old versions, their runs, their code and data.

What goes is decided from what stays, and what can't be told stays: a version that can't be read, a
folder that was uploaded a short time ago, whatever is not named as dlstack names things.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from store import contents, folders, marks, models, own_objects
from store.client import Client
from store.contents import Upload
from store.errors import NoObject, StoreError
from store.models import CLAIM_FILE, MANIFEST_FILE, Damaged, Manifest, Version
from store.objects import StoredObject, changed_at, delete_many, list_folders, list_prefix, read
from store.own_objects import RECORD_FILE, RUN_DIGITS
from store.prune_mark import Turn
from store.urls import S3Url
from store.young import YOUNG

NOT_OURS, WAS_THERE = "dlstack did not publish it", "it was there before this stack used the bucket"
"""Why versions stay that are not the stack's to delete."""

_RUN = re.compile(r"[0-9a-f]{12}")
_KEYS_AT_ONCE = 1000


@dataclass(frozen=True)
class Needed:
    """What stays, however old it is."""

    versions: frozenset[tuple[str, int]] = frozenset()
    """Model and number: what serves, or is told to."""
    runs: frozenset[str] = frozenset()
    """First digits of the hashes of runs that have a Job. What they published stays, too."""
    identities: frozenset[str] = frozenset()
    """Of models that were copied from elsewhere."""
    folders: frozenset[str] = frozenset()
    """Names of indexes that a Job reads, or the next one will."""
    trains: bool = False
    """Whether a Job may be about to publish."""


@dataclass(frozen=True)
class Going:
    """Something that nothing needs."""

    name: str
    size: int
    """Bytes."""
    bucket: str
    keys: Sequence[str] = field(repr=False)
    """In the order in which they are to go."""
    detail: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """Of a version."""


@dataclass(frozen=True)
class Left:
    """What a killed process has left of an upload in parts: no list of objects shows it."""

    bucket: str
    upload: Upload
    size: int
    """Bytes."""


@dataclass(frozen=True)
class Unneeded:
    """All that can go."""

    versions: Sequence[Going]
    runs: Sequence[Going]
    folders: Sequence[Going]
    """Indexes of code folders and data sets."""
    contents: Sequence[Going]
    """Of files that no index will name: none or one of these."""
    stays: Mapping[str, Sequence[int]]
    """Model -> numbers of the versions that stay, the newest first."""
    unsure: Sequence[str]
    """Why something stays of which nobody can tell whether it is needed, in words."""
    metrics: Mapping[tuple[str, int], Mapping[str, Any]] = field(default_factory=dict)
    """Of the versions that stay, by model and number."""
    reasons: Mapping[tuple[str, int], str] = field(default_factory=dict)
    """Why versions stay that are older than the newest ones, in words."""
    uploads: Sequence[Left] = ()

    @property
    def all(self) -> list[Going]:
        """Return all objects, in the order in which they are to go."""
        return [*self.versions, *self.runs, *self.folders, *self.contents]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(one.size for one in self.all) + sum(one.size for one in self.uploads)


@dataclass(frozen=True)
class _Bucket:
    """A bucket, and what of it may be the stack's."""

    name: str
    since: datetime | None
    """When the stack began to use it, if somebody else has made it: what is older is not the
    stack's, and what is not is looked at. None: all that is named so is the stack's."""

    @property
    def is_given(self) -> bool:
        return self.since is not None

    def began_before(self, *times: datetime) -> bool:
        """Say whether one of these times is before that."""
        return self.since is not None and min(times) < self.since


@dataclass
class _Known:
    """What was found out of versions that stay, for what they need."""

    runs: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    unsure: list[str] = field(default_factory=list)
    going_runs: set[str] = field(default_factory=set)


def look(
    client: Client,
    *,
    output_bucket: str,
    data_bucket: str,
    keep: int,
    needed: Needed,
    now: datetime,
    model: str | None = None,
    goes_on: Callable[[], None] = lambda: None,
    given: Mapping[str, datetime] | None = None,
) -> Unneeded:
    """Return what can go.

    Args:
        client: the store.
        output_bucket: has models and runs.
        data_bucket: has code and data.
        keep: how many of the newest intact versions of each model stay; at least 1.
        needed: what else stays.
        now: the present time.
        model: only versions of this one go, and what only they need; None: of all models.
        goes_on: called again and again meanwhile: thousands of versions and runs take minutes.
        given: buckets that somebody else has made, with when this stack began to use each: only
            what it has put there since then goes.
    """
    if keep < 1:
        raise ValueError(f"keep is {keep}: at least one version stays")
    known, going, stays = _Known(), list[Going](), dict[str, list[int]]()
    metrics: dict[tuple[str, int], Mapping[str, Any]] = {}
    reasons: dict[tuple[str, int], str] = {}
    output, data = (_Bucket(name, (given or {}).get(name)) for name in (output_bucket, data_bucket))
    for name in list_folders(client, S3Url(output_bucket, "models")):
        goes_on()
        of_model = model is None or name == model
        found = _of_model(client, output, name, keep if of_model else None, needed, known)
        going += _claims(found, output, needed, now) if of_model else []
        going += [_version(name, one, why, found.metrics[one.number]) for one, why in found.going]
        stays[name] = [one.number for one in found.staying]
        metrics |= {(name, number): found.metrics[number] for number in stays[name]}
        reasons |= {(name, number): why for number, why in found.reasons.items()}
    runs = _runs(client, output, keep, needed, known, goes_on, others=model is None)
    needed_folders = needed.folders | known.folders
    indexes, left = _indexes(client, data, needed_folders, now, bool(known.unsure))
    unnamed = [] if known.unsure else _contents(client, data, left, known.unsure, goes_on)
    uploads = [
        one
        for bucket in (output, data)
        for one in cut_short(client, bucket.name, bucket.since, now - YOUNG, goes_on)
    ]
    return Unneeded(going, runs, indexes, unnamed, stays, known.unsure, metrics, reasons, uploads)


def delete(client: Client, unneeded: Unneeded, turn: Turn) -> None:
    """Delete what can go. Cut short, it leaves nothing that readers take for whole."""
    for one in unneeded.all:
        for first in range(0, len(one.keys), _KEYS_AT_ONCE):
            turn.renew()
            delete_many(client, one.bucket, one.keys[first : first + _KEYS_AT_ONCE])
    for bucket in {left.bucket for left in unneeded.uploads}:
        turn.renew()
        some = [left.upload for left in unneeded.uploads if left.bucket == bucket]
        contents.abort(client, bucket, some)


@dataclass
class _OfModel:
    name: str
    url: S3Url
    lowest: int
    """Of the newest versions that stay: those above it stay in any case."""
    staying: list[Version]
    going: list[tuple[Version, str]]
    claimed: list[Version]
    """Numbers without a manifest."""
    metrics: dict[int, Mapping[str, Any]]
    """Of all that have a manifest; a damaged one tells none."""
    reasons: dict[int, str]
    """Why those below `lowest` stay."""


def _of_model(
    client: Client, bucket: _Bucket, name: str, keep: int | None, needed: Needed, known: _Known
) -> _OfModel:
    url = S3Url(bucket.name, f"models/{name}")
    checked = models.check(client, url)
    whole = [one.number for one, manifest in checked if isinstance(manifest, Manifest)]
    # With fewer than that, nothing is old.
    lowest = whole[keep - 1] if keep is not None and len(whole) >= keep else 0
    metrics = {
        one.number: manifest.metrics if isinstance(manifest, Manifest) else {}
        for one, manifest in checked
    }
    found = _OfModel(name, url, lowest, [], [], [], metrics, {})
    for version, manifest in checked:
        run = manifest.run_hash[:RUN_DIGITS]
        reason = (
            ""
            if version.number >= lowest
            else _reason(name, version, manifest, needed) or _is_others(version, bucket)
        )
        if version.number >= lowest or reason:
            found.staying.append(version)
            found.reasons |= {version.number: reason} if reason else {}
            _note(known, version, manifest)
        else:
            why = "damaged" if isinstance(manifest, Damaged) else ""
            found.going.append((version, why))
            known.going_runs |= {run} - {""}
    published = {version.number for version, _ in checked}
    found.claimed = [one for one in models.versions(client, url) if one.number not in published]
    return found


def _reason(name: str, version: Version, manifest: Manifest | Damaged, needed: Needed) -> str:
    """Return why a version is needed; empty if it isn't."""
    if (name, version.number) in needed.versions:
        return "it serves, or is configured to"
    if manifest.run_hash and manifest.run_hash[:RUN_DIGITS] in needed.runs:
        return "the Job of its run is there"
    origin = manifest.document.get("origin") if isinstance(manifest, Manifest) else None
    if str((origin or {}).get("identity")) in needed.identities:
        return "dlstack:model names what it was copied from"
    return ""


def _is_others(version: Version, bucket: _Bucket) -> str:
    """Return why a version is not the stack's to delete; empty if it is."""
    if not bucket.is_given:
        return ""
    claim = version.objects.get(CLAIM_FILE)
    if claim is None:
        return NOT_OURS
    if bucket.began_before(claim.modified, version.objects[MANIFEST_FILE].modified):
        return WAS_THERE
    return ""


def _note(known: _Known, version: Version, manifest: Manifest | Damaged) -> None:
    """Note down what a version that stays needs."""
    if manifest.run_hash:
        known.runs.add(manifest.run_hash[:RUN_DIGITS])
    if isinstance(manifest, Manifest):
        known.folders |= _made_of(manifest.document)
    else:
        known.unsure.append(
            f"'{version.url}' is damaged: nobody can tell which run, code and data it needs, so "
            "all of these stay"
        )


def _made_of(document: Mapping[str, Any]) -> set[str]:
    made_of = document.get("provenance")
    if not isinstance(made_of, Mapping):
        return set()
    return {
        str(made_of[f"{part}_sha256"]) for part in ("code", "data") if f"{part}_sha256" in made_of
    }


def _version(
    name: str, version: Version, why: str, metrics: Mapping[str, Any] | None = None
) -> Going:
    prefix = f"{version.url.prefix}/"
    # The manifest first: without it there is no such version. The claim last: it says of what is
    # left that it is dlstack's.
    keys = sorted(
        version.objects, key=lambda path: (path != MANIFEST_FILE, path == CLAIM_FILE, path)
    )
    return Going(
        f"{name} {version.number}",
        sum(one.size for one in version.objects.values()),
        version.url.bucket,
        [prefix + path for path in keys],
        why,
        metrics or {},
    )


def _claims(found: _OfModel, bucket: _Bucket, needed: Needed, now: datetime) -> list[Going]:
    """Return the numbers that somebody claimed, and published nothing under."""
    return [
        _version(found.name, one, "never published")
        for one in found.claimed
        if one.number < found.lowest
        # Else it is a model of somebody's who knows neither claims nor manifests.
        and CLAIM_FILE in one.objects
        and not bucket.began_before(one.objects[CLAIM_FILE].modified)
        and not needed.trains
        and (found.name, one.number) not in needed.versions
        and all(now - entry.modified > YOUNG for entry in one.objects.values())
    ]


def _runs(
    client: Client,
    bucket: _Bucket,
    keep: int,
    needed: Needed,
    known: _Known,
    goes_on: Callable[[], None],
    *,
    others: bool,
) -> list[Going]:
    """Return the runs that can go: those of versions that go, and all but the newest others."""
    there: dict[str, list[StoredObject]] = {}
    for entry in list_prefix(client, bucket.name, "runs/"):
        there.setdefault(entry.path.split("/")[1], []).append(entry)
    there = {name: entries for name, entries in there.items() if _RUN.fullmatch(name)}
    free = [name for name in there if name not in needed.runs | known.runs]
    unpublished = [name for name in free if name not in known.going_runs]
    unpublished.sort(key=lambda name: max(one.modified for one in there[name]), reverse=True)
    staying = set(there) - set(free) | set(unpublished if not others else unpublished[:keep])
    if known.unsure:
        staying = set(there)
    if bucket.is_given:
        for name in set(there) - staying:
            goes_on()
            if not _is_own_run(client, bucket, name, there[name]):
                staying.add(name)
    for name in staying:
        goes_on()
        known.folders |= _made_of(_record(client, bucket, name))
    return [
        Going(
            name,
            sum(one.size for one in there[name]),
            bucket.name,
            [one.path for one in there[name]],
            "" if name in known.going_runs else "published nothing",
        )
        for name in sorted(set(there) - staying)
    ]


def _record(client: Client, bucket: _Bucket, name: str) -> dict[str, Any]:
    """Return what a run says of itself. Runs of an earlier dlstack say nothing."""
    try:
        url = S3Url(bucket.name, f"runs/{name}/{RECORD_FILE}")
        return dict(json.loads(read(client, url)))
    except (NoObject, ValueError, TypeError):
        return {}


def _is_own_run(
    client: Client, bucket: _Bucket, name: str, entries: Sequence[StoredObject]
) -> bool:
    """Say whether it is a run, and of this stack."""
    if bucket.began_before(*(one.modified for one in entries)):
        return False
    return str(_record(client, bucket, name).get("run_hash"))[:RUN_DIGITS] == name


def _indexes(
    client: Client, bucket: _Bucket, needed: Iterable[str], now: datetime, all_stay: bool
) -> tuple[list[Going], list[S3Url]]:
    """Return the indexes that can go, and the URLs of those that stay."""
    needed, going, left = set(needed), list[Going](), list[S3Url]()
    for entry in list_prefix(client, bucket.name, folders.INDEXES):
        name, url = entry.path.removeprefix(folders.INDEXES), S3Url(bucket.name, entry.path)
        if not folders.is_own(entry.path):
            continue
        if all_stay or name in needed or now - entry.modified < YOUNG:
            left.append(url)
        elif not bucket.is_given or (
            not bucket.began_before(entry.modified) and folders.is_intact(client, url)
        ):
            going.append(Going(name[:RUN_DIGITS], entry.size, bucket.name, [entry.path]))
        elif folders.is_intact(client, url):
            # Of who used the bucket before.
            left.append(url)
    return going, left


def _contents(
    client: Client,
    bucket: _Bucket,
    indexes: Iterable[S3Url],
    unsure: list[str],
    goes_on: Callable[[], None],
) -> list[Going]:
    """Return the contents that none of the indexes names."""
    named: set[str] = set()
    for url in indexes:
        goes_on()
        try:
            named.update(one.sha256 for one in folders.entries(client, url))
        except NoObject:
            continue
        except StoreError as error:
            unsure.append(f"{error} Until then the contents of all files stay")
            return []
    unnamed = [
        entry
        for entry in list_prefix(client, bucket.name, folders.BLOBS)
        if folders.is_own(entry.path)
        and entry.path.removeprefix(folders.BLOBS) not in named
        and not bucket.began_before(entry.modified)
    ]
    if bucket.is_given:
        # Others name objects by their SHA-256 as well.
        marked: set[str] = set()
        for first in range(0, len(unnamed), _KEYS_AT_ONCE):
            goes_on()
            some = [entry.path for entry in unnamed[first : first + _KEYS_AT_ONCE]]
            found = marks.marks(client, bucket.name, some)
            marked.update(key for key, sha256 in found.items() if key == folders.BLOBS + sha256)
        unnamed = [entry for entry in unnamed if entry.path in marked]
    if not unnamed:
        return []
    keys = [entry.path for entry in unnamed]
    return [Going("", sum(one.size for one in unnamed), bucket.name, keys)]


def cut_short(
    client: Client,
    bucket: str,
    since: datetime | None,
    before: datetime,
    goes_on: Callable[[], None] = lambda: None,
) -> list[Left]:
    """Return the uploads in parts of ours that nobody goes on with.

    Args:
        client: the store.
        bucket: its name.
        since: when the stack began to use it, if somebody else has made it.
        before: when their last parts came at the latest.
        goes_on: as for `look`.
    """
    found = []
    for upload in contents.unfinished(client, bucket):
        if not own_objects.is_named_so(upload.key) or (upload.begun and upload.begun >= before):
            continue
        goes_on()
        parts = contents.arrived(client, bucket, upload)
        if (
            parts is not None
            and parts.last < before
            and _is_own_upload(client, _Bucket(bucket, since), upload, parts.first)
        ):
            found.append(Left(bucket, upload, parts.size))
    return found


def _is_own_upload(client: Client, bucket: _Bucket, upload: Upload, begun: datetime) -> bool:
    if not bucket.is_given:
        return True
    if bucket.began_before(begun):
        return False
    folder = own_objects.folder_of(upload.key)
    if not folder:
        return True
    # Whoever puts a run or a version there, puts these first.
    sign = RECORD_FILE if folder.startswith("runs/") else CLAIM_FILE
    since = changed_at(client, S3Url(bucket.name, f"{folder}{sign}"))
    return since is not None and not bucket.began_before(since)
