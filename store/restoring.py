"""Backups of published versions back into a store (`store.backups` writes them).

What lacks its list is half made, and refused; so is what differs from it. A version's manifest is
put last: it is a version from then on, as one that is published.
"""

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from store import folders, marks, prune_mark
from store.backups import DATA, FORMAT, LIST, OUTPUT, Hashed, Kept, place_of, sha256_of
from store.client import Client
from store.creation import create
from store.errors import Gone, NoObject, OtherContent, StoreError
from store.models import CLAIM_FILE, MANIFEST_FILE
from store.objects import head, read, read_chunks, write
from store.parallel import in_parallel
from store.sending import Reader, send
from store.urls import S3Url
from store.young import kept_young


class BadBackup(StoreError):
    """It is no backup, or not all of one."""


class Place(Protocol):
    """Where a backup is read from."""

    def document(self) -> bytes:
        """Return the list at its end. Raises BadBackup if there is none."""

    def opened(self, kept: Kept) -> Any:
        """Return a context with a reader of an object's content."""


class File:
    """A backup in a file."""

    def __init__(self, tar: tarfile.TarFile, file: Path) -> None:
        self._tar, self._file = tar, file
        try:
            self._members = {one.name: one for one in tar.getmembers()}
        except (tarfile.TarError, EOFError) as error:
            raise _no_backup(str(file)) from error

    def document(self) -> bytes:
        if LIST not in self._members:
            raise _no_backup(str(self._file))
        with self._open(LIST) as content:
            return content.read()

    @contextmanager
    def opened(self, kept: Kept) -> Iterator[Reader]:
        with self._open(kept.name) as content:
            yield content

    def check(self, kept: Sequence[Kept]) -> None:
        """Compare all contents with the list. Raises BadBackup if one differs."""
        for one in kept:
            with self._open(one.name) as content:
                found = hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]
            if found != one.sha256:
                raise BadBackup(
                    f"'{self._file}' is damaged: '{one.name}' is not what was backed up. Use "
                    "another copy of it."
                )

    def _open(self, name: str) -> IO[bytes]:
        member = self._members.get(name)
        content = self._tar.extractfile(member) if member and member.isfile() else None
        if content is None:
            raise BadBackup(
                f"'{self._file}' is damaged: it lacks '{name}'. Use another copy of it."
            )
        return content


@contextmanager
def in_file(file: Path) -> Iterator[File]:
    """Open a backup in a file. Raises BadBackup if it is none."""
    try:
        with tarfile.open(file, "r:") as tar:
            yield File(tar, file)
    except (tarfile.TarError, EOFError) as error:
        raise _no_backup(str(file)) from error


@dataclass(frozen=True)
class Below:
    """A backup below a URL."""

    client: Client
    url: S3Url

    def document(self) -> bytes:
        try:
            return read(self.client, self.url / LIST)
        except NoObject as error:
            raise _no_backup(str(self.url)) from error

    @contextmanager
    def opened(self, kept: Kept) -> Iterator[Reader]:
        yield Hashed(read_chunks(self.client, self.url / kept.name))


def _no_backup(name: str) -> BadBackup:
    return BadBackup(
        f"'{name}' is not a backup, or one that was never finished. Run 'python -m infra backup' "
        "again, or name another one."
    )


@dataclass(frozen=True)
class Listed:
    """What a backup says of itself."""

    objects: Sequence[Kept]
    versions: Mapping[str, Sequence[int]]
    created: str
    stack: str


def listed(place: Place, name: str) -> Listed:
    """Return what a backup has. Raises BadBackup if it is of no known kind."""
    try:
        told = json.loads(place.document())
        if told["format"] != FORMAT:
            raise BadBackup(
                f"'{name}' is a backup of format {told['format']}, which this dlstack does not "
                "know. Use the dlstack that made it."
            )
        objects = [Kept(str(one), int(size), str(sha256)) for one, size, sha256 in told["objects"]]
        versions = {str(one): [int(n) for n in some] for one, some in told["versions"].items()}
        created, stack = str(told["created"]), str(told.get("stack", ""))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _no_backup(name) from error
    for one in objects:
        kind, _, key = one.name.partition("/")
        if f"{kind}/" not in (OUTPUT, DATA) or not key:
            raise _no_backup(name)
    return Listed(objects, versions, created, stack)


class Another(StoreError):
    """The bucket has a version of that number that is not the one of the backup."""


def restore(
    client: Client,
    buckets: Mapping[str, str],
    place: Place,
    kept: Sequence[Kept],
    tell: Callable[[str], None] = print,
) -> tuple[int, int]:
    """Put there what lacks, each content compared with its SHA-256.

    Args:
        client: the store.
        buckets: `output/` and `data/` -> name of the bucket.
        place: the backup.
        kept: its objects.
        tell: gets a line when somebody prunes the bucket, which is waited for.

    Returns:
        How many objects were put, and how many were there.

    Raises:
        Another: before anything is put.
    """

    def is_there(one: Kept) -> bool:
        return _is_there(client, place_of(buckets, one), one)

    lacking = [one for one in kept if one.name.startswith(OUTPUT) and not is_there(one)]
    manifests = [one for one in lacking if one.name.endswith(f"/{MANIFEST_FILE}")]
    claims = [one for one in lacking if one.name.endswith(f"/{CLAIM_FILE}")]
    taken = [one for one in (*manifests, *claims) if _exists(client, place_of(buckets, one))]
    for claim in () if taken else claims:
        with place.opened(claim) as content:
            # Of two that want a number one gets it: here, too.
            if not create(client, place_of(buckets, claim), content.read(claim.size)):
                taken.append(claim)
    if taken:
        names = ", ".join(sorted({" ".join(one.name.split("/")[2:4]) for one in taken}))
        raise Another(
            f"The bucket '{buckets[OUTPUT]}' has other versions under the same numbers: {names}. "
            "No version was restored."
        )

    def one(item: Kept) -> None:
        url = place_of(buckets, item)
        try:
            with place.opened(item) as content:
                send(client, content, url, item.size, sha256=item.sha256, metadata=_marked(item))
        except OtherContent as error:
            raise BadBackup(
                f"The backup is damaged: '{item.name}' is not what was backed up. Use another one."
            ) from error

    def put(some: Sequence[Kept]) -> None:
        if isinstance(place, File):
            # A file is read by one.
            for item in some:
                one(item)
        else:
            in_parallel(one, some)

    # As by an upload: indexes first, whether they are there or not, and then a look at who prunes.
    # From now on nobody takes away what they name, until the manifests name them.
    of_data = [item for item in kept if item.name.startswith(DATA)]
    indexes = {item for item in of_data if folders.is_index(place_of(buckets, item))}
    new_indexes = [item for item in indexes if not is_there(item)]
    put(list(indexes))
    urls = [place_of(buckets, item) for item in indexes]

    def put_again() -> None:
        for url in urls:
            write(client, url, read(client, url))

    with kept_young(put_again) as are_young:
        if of_data:
            prune_mark.wait(client, buckets[DATA], tell)
        contents = [item for item in of_data if item not in indexes and not is_there(item)]
        put(contents)
        if not are_young():
            raise StoreError(
                "This machine stood still for long, and what was restored of code and data may be "
                "gone again. No version was restored. Run the command again: it sends what lacks."
            )
    runs = [item for item in lacking if item.name.startswith(f"{OUTPUT}runs/")]
    later = {*manifests, *claims, *runs}
    put([item for item in lacking if item not in later])
    # A version is one from the moment in which its manifest is there. Nobody takes its run then.
    put(manifests)
    put(runs)
    count = len(lacking) + len(new_indexes) + len(contents)
    return count, len(kept) - count


def _marked(item: Kept) -> Mapping[str, str]:
    """Return what says of a file's content that dlstack has put it there, as an upload does."""
    is_content = item.name.startswith(f"{DATA}{folders.BLOBS}")
    return marks.metadata(item.sha256) if is_content else {}


def _is_there(client: Client, url: S3Url, kept: Kept) -> bool:
    """Say whether an object is there already. What is there of a run may be newer, and stays."""
    if url.prefix.startswith("runs/"):
        return _exists(client, url)
    try:
        if head(client, url)["ContentLength"] != kept.size:
            return False
        return sha256_of(read_chunks(client, url)) == kept.sha256
    except Gone:
        return False


def _exists(client: Client, url: S3Url) -> bool:
    try:
        head(client, url)
    except Gone:
        return False
    return True
