"""Folders of code and data by their content: what a hash names stays what it is.

`blobs/<SHA-256>` is the content of a file, whichever folders have it. `folders/<SHA-256>` is the
index of a folder: a path, a size and a SHA-256 for each of its files. It is called after the digest
of paths and SHA-256s, which manifests name (docs/contracts.md). Neither is ever overwritten with
something else. All other places of a store are plain folders, with a path for a key.
"""

import gzip
import hashlib
import itertools
import json
import json.encoder
import re
import threading
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

from store import marks, prune_mark, room, slowness
from store.client import Client
from store.errors import Gone, NoObject, Unusable
from store.file_names import require_files
from store.objects import head, list_files, list_prefix, read, write
from store.parallel import in_parallel
from store.transfers import Wanted, fetch_all
from store.urls import S3Url
from store.young import kept_young

BLOBS = "blobs/"
INDEXES = "folders/"
"""What the keys of both begin with, in the data bucket."""

_OWN = re.compile(f"(?:{BLOBS}|{INDEXES})[0-9a-f]{{64}}")
_INDEX = re.compile(f"{INDEXES}[0-9a-f]{{64}}")

_PAIRS = 1000
"""So many files at a time go into a digest."""
_LOOKED_AT_SINGLY = 64
"""So many blobs are looked at each by a request; more by a list of all."""


class Entry(NamedTuple):
    """A file of a folder in a store. There may be 100,000 of them."""

    path: str
    """Relative to the folder, with `/` between its parts."""
    size: int
    """Bytes."""
    sha256: str
    """Of its content; empty in a plain folder."""
    etag: str
    """What tells its content from another one under the same key; empty: there is no other."""
    folder: S3Url

    @property
    def url(self) -> S3Url:
        """Of the object with its content."""
        return blob(self.folder.bucket, self.sha256) if self.sha256 else self.folder / self.path


class LocalFile(NamedTuple):
    """A file of this machine that is to be one of a folder."""

    path: str
    """Relative to the folder, with `/` between its parts."""
    size: int
    """Bytes, as they are sent."""
    sha256: str
    file: str | Path
    """A text takes a fifth of the memory."""


def digest(sums: Mapping[str, str]) -> str:
    """Return what a folder with these files is called: path -> SHA-256."""
    # Of the canonical JSON, which for 100,000 files is long; `json.dumps` takes a second for them.
    found, encoded = hashlib.sha256(b"{"), json.encoder.encode_basestring
    pairs = (f"{encoded(path)}:{encoded(sha256)}" for path, sha256 in sorted(sums.items()))
    comma = ""
    while some := ",".join(itertools.islice(pairs, _PAIRS)):
        found.update(f"{comma}{some}".encode())
        comma = ","
    found.update(b"}")
    return found.hexdigest()


def blob(bucket: str, sha256: str) -> S3Url:
    """Return the place of a file's content."""
    return S3Url(bucket, BLOBS + sha256)


def index(bucket: str, name: str) -> S3Url:
    """Return the URL of a folder: of the object that lists its files."""
    return S3Url(bucket, INDEXES + name)


def is_index(url: S3Url) -> bool:
    """Say whether a URL is that of an index, and not of a plain folder."""
    return _INDEX.fullmatch(url.prefix) is not None


def is_own(key: str) -> bool:
    """Say whether a key is that of an index or of a file's content."""
    return _OWN.fullmatch(key) is not None


def entries(client: Client, url: S3Url) -> list[Entry]:
    """Return the files of a folder, whether it has an index or is a plain one.

    Raises:
        NoObject: there is no such index.
        Unusable: an index is not what its name says, or a key can't be the path of a file.
    """
    if is_index(url):
        return _indexed(client, url)
    files = list(list_files(client, url))
    require_files(url, files)
    return [Entry(one.path, one.size, "", one.etag, url) for one in files]


def fetch(client: Client, url: S3Url, target: Path) -> list[Entry]:
    """Get all files of a folder into the folder `target`; return what was there.

    Raises:
        NoObject: there is no such index, or the content of a file is gone.
        NoRoom: the disk is too small.
        OtherContent: a content is another one than its name says.
        OSError: a file can't be written.
    """
    found = entries(client, url)
    fetch_entries(client, found, target)
    return found


def fetch_entries(
    client: Client,
    found: Sequence[Entry],
    target: Path,
    ask: Callable[[Callable[[], None]], None] | None = None,
) -> None:
    """Get files of one folder into the folder `target`. Raises as `fetch` does.

    Args:
        client: of the store.
        found: which files.
        target: the folder.
        ask: gets each, maybe again after an error.
    """
    if not found:
        return
    what = f"'{found[0].folder}'"
    room.require(target, sum(one.size for one in found), what)
    with room.explained(target, what):
        fetch_all(
            client,
            (Wanted(one.url, target / one.path, one.size, one.sha256, one.etag) for one in found),
            *([ask] if ask else []),
        )


def put(
    client: Client,
    bucket: str,
    files: Sequence[LocalFile],
    known: Callable[[], Collection[str]] = frozenset,
    opened: Callable[[Path], BinaryIO] | None = None,
    tell: Callable[[str], None] = print,
) -> S3Url:
    """Make a folder of these files, of whose content only that is sent which is not there yet.

    Args:
        client: the store.
        bucket: the one for code and data.
        files: of this machine.
        known: returns SHA-256s of contents that are there for sure. Asked when nobody takes any
            away.
        opened: opens a file, and may yield another form of it: the one that its SHA-256 is of.
        tell: gets a line when somebody prunes the bucket, which is waited for, and when the upload
            takes long; in another thread.

    Raises:
        StoreError: a file can't be read, or has changed.
    """
    url = index(bucket, digest({one.path: one.sha256 for one in files}))
    packed = _packed(files)
    while True:
        # First: from now on nobody takes the contents away that it names (docs/contracts.md).
        with kept_young(lambda: write(client, url, packed)) as is_young:
            prune_mark.wait(client, bucket, tell)
            there = known()
            wanted = {one.sha256: one for one in files if one.sha256 not in there}
            sizes = {name: one.size for name, one in wanted.items()}
            lacking = _lacking(client, bucket, sizes)
            _send(client, bucket, {name: wanted[name] for name in lacking}, opened, tell)
            if is_young():
                return url
        tell("This machine stood still for long: looking again whether all of it is there")


def _send(
    client: Client,
    bucket: str,
    files: Mapping[str, LocalFile],
    opened: Callable[[Path], BinaryIO] | None,
    tell: Callable[[str], None],
) -> None:
    """Send contents, by SHA-256."""
    total, lock, done = sum(one.size for one in files.values()), threading.Lock(), 0

    def sent(size: int) -> None:
        nonlocal done
        with lock:
            done += size

    def progress(seconds: float) -> str:
        return (
            f"Uploading: {done / 1e6:,.1f} of {total / 1e6:,.1f} MB in {seconds:.0f} s, "
            f"{done / 1e6 / seconds:,.2f} MB/s"
        )

    some = ((Path(one.file), BLOBS + name, name) for name, one in files.items())
    with slowness.told(tell, progress):
        marks.upload(client, bucket, some, (), opened or marks.plainly, sent)


def is_complete(client: Client, url: S3Url) -> bool:
    """Say whether an index is there, and the content of each of its files."""
    try:
        found = _indexed(client, url)
    except NoObject:
        return False
    return not _lacking(client, url.bucket, {one.sha256: one.size for one in found})


def is_intact(client: Client, url: S3Url) -> bool:
    """Say whether an index is there, and is what its name says; its files may lack."""
    try:
        _indexed(client, url)
    except (NoObject, Unusable):
        return False
    return True


def hold(client: Client, url: S3Url, tell: Callable[[str], None] = print) -> bool:
    """Say whether a folder is there, with all of its files; it is as if it had been put just now.

    Args:
        client: the store.
        url: of its index.
        tell: as for `put`.
    """
    try:
        packed = read(client, url)
    except NoObject:
        return False
    write(client, url, packed)
    prune_mark.wait(client, url.bucket, tell)
    return is_complete(client, url)


def _indexed(client: Client, url: S3Url) -> list[Entry]:
    try:
        found = [Entry(*one, "", url) for one in _parsed(read(client, url))]
    except (ValueError, TypeError, OSError, EOFError, zlib.error) as error:
        raise _damaged(url) from error
    if INDEXES + digest({one.path: one.sha256 for one in found}) != url.prefix:
        raise _damaged(url)
    return found


def _damaged(url: S3Url) -> Unusable:
    return Unusable(
        f"'{url}' is not what its name says: somebody has written to it. Delete it, and run "
        "'pulumi up --refresh'."
    )


def _packed(files: Iterable[LocalFile]) -> bytes:
    packed = BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=6, mtime=0) as lines:
        for one in files:
            lines.write(json.dumps([one.path, one.size, one.sha256]).encode() + b"\n")
    return packed.getvalue()


def _parsed(packed: bytes) -> Iterator[tuple[str, int, str]]:
    # Line by line: there may be 100,000.
    with gzip.open(BytesIO(packed)) as lines:
        for line in lines:
            path, size, sha256 = json.loads(line)
            yield str(path), int(size), str(sha256)


def _lacking(client: Client, bucket: str, sizes: Mapping[str, int]) -> list[str]:
    """Return those of the contents that are not there. `sizes`: SHA-256 -> bytes."""
    if len(sizes) > _LOOKED_AT_SINGLY:
        there = {
            entry.path[len(BLOBS) :]: entry.size for entry in list_prefix(client, bucket, BLOBS)
        }
        return [name for name, size in sizes.items() if there.get(name) != size]

    def is_there(name: str) -> bool:
        try:
            return head(client, blob(bucket, name))["ContentLength"] == sizes[name]
        except Gone:
            return False

    found = in_parallel(is_there, sizes)
    return [name for name, there in zip(sizes, found, strict=True) if not there]
