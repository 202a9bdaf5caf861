"""Paths of a folder in an object store, which are used as those of `pathlib` are.

`open`, `read_bytes` and the like read from the store. Whatever takes paths of this machine only
gets a copy of that one file or folder (`os.fspath`), which stays as long as the folder is used.
"""

import io
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache, partial, total_ordering
from pathlib import Path, PurePosixPath
from typing import Any, Literal, overload

from store import folders
from store.client import Client, from_environment
from store.file_names import unfinished
from store.folders import Entry
from store.parallel import in_parallel
from store.streams import AHEAD, PIECE_BYTES, Content, ObjectFile, in_order, read_range
from store.urls import S3Url
from training.command_line import TrainingError

_BUFFER_BYTES = 256 * 2**10
_SAID_BYTES = 64 * 2**20
"""A copy of more than that is told in the log."""


@lru_cache(maxsize=2)
def _client(_process: int) -> Client:
    return from_environment()


def client() -> Client:
    """Return this process's client: another one after a fork, which can't share connections."""
    return _client(os.getpid())


@dataclass(eq=False)
class _Listing:
    """What a folder in a store held when it was listed: files are read as they were then."""

    url: str
    """As the user gave it."""
    place: S3Url
    files: dict[str, Entry]
    """By path."""
    copies: "tempfile.TemporaryDirectory[str] | None" = None
    lock: Any = field(default_factory=threading.Lock)

    @cached_property
    def folders(self) -> dict[str, list[str]]:
        """Path of each folder -> names in it, sorted."""
        found: dict[str, set[str]] = {"": set()}
        for path in self.files:
            while path:
                above, _, name = path.rpartition("/")
                names = found.setdefault(above, set())
                if name in names:
                    break
                names.add(name)
                path = above
        return {path: sorted(names) for path, names in found.items()}

    def content(self, path: str) -> Content:
        entry = self.files[path]
        return Content(entry.url, entry.size, entry.etag)

    def place_of_copies(self) -> Path:
        with self.lock:
            if self.copies is None:
                self.copies = tempfile.TemporaryDirectory(prefix="dlstack-data-")
            return Path(self.copies.name)

    def __getstate__(self) -> dict[str, Any]:
        # For worker processes of data loaders, which copy for themselves.
        return {"url": self.url, "place": self.place, "files": self.files}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, copies=None, lock=threading.Lock())


@total_ordering
class StoredPath(os.PathLike[str]):
    """A file or folder of a data set in a store: the part of `pathlib.Path` that only reads."""

    __slots__ = ("_listing", "_path")

    def __init__(self, listing: _Listing, path: PurePosixPath) -> None:
        self._listing, self._path = listing, path

    def __truediv__(self, other: "str | os.PathLike[str]") -> "StoredPath":
        return StoredPath(self._listing, PurePosixPath(os.path.normpath(self._path / other)))

    def joinpath(self, *others: "str | os.PathLike[str]") -> "StoredPath":
        """Return a path below this one."""
        return self / PurePosixPath(*others)

    @property
    def name(self) -> str:
        """The last part of the path; of the data set itself, of its URL."""
        return self._path.name or self._listing.place.prefix.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its last suffix."""
        return self._path.stem

    @property
    def suffix(self) -> str:
        """The last suffix, with its dot."""
        return self._path.suffix

    @property
    def suffixes(self) -> list[str]:
        """All suffixes."""
        return self._path.suffixes

    @property
    def parent(self) -> "StoredPath":
        """The folder around it; of the data set itself, the same."""
        return StoredPath(self._listing, self._path.parent)

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the path below the data set."""
        return self._path.parts

    def as_posix(self) -> str:
        """Return the URL."""
        return str(self)

    def relative_to(self, other: "StoredPath") -> PurePosixPath:
        """Return the path below `other`; raise ValueError if it is not there."""
        return self._path.relative_to(other._path)

    def match(self, pattern: str) -> bool:
        """Say whether the path ends as a glob does."""
        return self._path.match(pattern)

    def is_file(self) -> bool:
        """Say whether it is an object."""
        return self._key in self._listing.files

    def is_dir(self) -> bool:
        """Say whether there are objects below it."""
        return self._key in self._listing.folders

    def exists(self) -> bool:
        """Say whether it is an object, or there are some below it."""
        return self.is_file() or self.is_dir()

    def stat(self) -> os.stat_result:
        """Return `st_size`, in bytes; nothing else is known."""
        return os.stat_result((0, 0, 0, 0, 0, 0, self._content.size, 0, 0, 0))

    def iterdir(self) -> Iterator["StoredPath"]:
        """Yield what is in a folder."""
        if not self.is_dir():
            raise NotADirectoryError(f"'{self}' is not a folder")
        yield from (self / name for name in self._listing.folders[self._key])

    def glob(self, pattern: str) -> Iterator["StoredPath"]:
        """Yield what a glob matches; `**/` stands for folders at any depth."""
        yield from dict.fromkeys(self._matches(PurePosixPath(pattern).parts))

    def rglob(self, pattern: str) -> Iterator["StoredPath"]:
        """Yield what a glob matches at any depth."""
        return self.glob(f"**/{pattern}")

    @overload
    def open(self, mode: Literal["rb"], buffering: int = -1) -> "io.BufferedReader[Any]": ...

    @overload
    def open(
        self,
        mode: Literal["r", "rt"] = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> "io.TextIOWrapper[Any]": ...

    def open(
        self,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> "io.BufferedReader[Any] | io.TextIOWrapper[Any]":
        """Open a file to read, as `open` does; `rb` gives bytes. It can be searched (`seek`)."""
        if set(mode) - set("rbt"):
            raise io.UnsupportedOperation(f"'{self}' can be read only, not opened by {mode!r}")
        size = buffering if buffering > 1 else _BUFFER_BYTES
        raw = io.BufferedReader(ObjectFile(client(), self._content), size)
        if "b" in mode:
            return raw
        return io.TextIOWrapper(raw, encoding, errors, newline)

    def read_bytes(self) -> bytes:
        """Return what a file holds."""
        content = self._content
        return bytes(read_range(client(), content, 0, content.size))

    def read_range(self, first: int, count: int) -> bytearray:
        """Return `count` bytes of a file from `first` on, less at its end. One request."""
        return read_range(client(), self._content, first, count)

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        """Return the text of a file."""
        with self.open("r", encoding=encoding, errors=errors) as file:
            return file.read()

    def __fspath__(self) -> str:
        """Return the path of a copy on this machine, made when it is first asked for."""
        return str(_copy(self._listing, self._key))

    def __str__(self) -> str:
        return f"{self._listing.url}/{self._key}" if self._key else self._listing.url

    def __repr__(self) -> str:
        return f"StoredPath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StoredPath):
            return NotImplemented
        return (self._listing.url, self._path) == (other._listing.url, other._path)

    def __lt__(self, other: "StoredPath") -> bool:
        return (self._listing.url, self._path) < (other._listing.url, other._path)

    def __hash__(self) -> int:
        return hash((self._listing.url, self._path))

    @property
    def _key(self) -> str:
        return "" if self._path == PurePosixPath() else str(self._path)

    @property
    def _content(self) -> Content:
        if not self.is_file():
            kind = IsADirectoryError if self.is_dir() else FileNotFoundError
            raise kind(f"'{self}' is {'a folder' if self.is_dir() else 'not there'}")
        return self._listing.content(self._key)

    def _matches(self, parts: tuple[str, ...]) -> Iterator["StoredPath"]:
        if not parts:
            yield self
            return
        first, rest = parts[0], parts[1:]
        below = [self / name for name in self._listing.folders.get(self._key, ())]
        if first == "**":
            yield from self._matches(rest)
            for path in below:
                if path.is_dir():
                    yield from path._matches(parts)
            return
        for path in below:
            if fnmatchcase(path.name, first) and (not rest or path.is_dir()):
                yield from path._matches(rest)


def stored_folder(url: str) -> StoredPath:
    """Return a folder in the store that AWS_* variables name (docs/contracts.md).

    Raises:
        TrainingError: it holds no files, or some whose keys can't be paths.
    """
    place = S3Url.parse(url, "--data_url")
    files = {entry.path: entry for entry in folders.entries(client(), place)}
    if not files:
        raise TrainingError(
            f"--data_url={url!r} holds no files. Upload them there, or correct the URL."
        )
    return StoredPath(_Listing(url.rstrip("/"), place, files), PurePosixPath())


@contextmanager
def used(folder: StoredPath) -> Iterator[StoredPath]:
    """Yield a folder; delete at the end what copies were made of it."""
    try:
        yield folder
    finally:
        if copies := folder._listing.copies:
            copies.cleanup()


def _copy(listing: _Listing, key: str) -> Path:
    """Return a copy of a file, or of all that is in a folder, made unless it is there."""
    folder = listing.place_of_copies()
    target = folder / key
    if key in listing.files:
        wanted = [key]
    elif key in listing.folders:
        below = f"{key}/" if key else ""
        wanted = [path for path in listing.files if path.startswith(below)]
    else:
        return target
    missing = [path for path in wanted if not (folder / path).exists()]
    size = sum(listing.files[path].size for path in missing)
    if size > _SAID_BYTES:
        print(
            f"Copying '{listing.url}/{key}', {size / 1e6:.0f} MB: what reads it takes files of "
            "this machine only",
            flush=True,
        )
    ahead = AHEAD if len(missing) == 1 else 1
    in_parallel(lambda path: _fetch(listing.content(path), folder / path, ahead), missing)
    return target


def _fetch(content: Content, target: Path, ahead: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Two threads may want it at the same time.
    part = unfinished(target, threading.get_ident())
    with part.open("wb") as file:
        starts = range(0, content.size, PIECE_BYTES)
        read = partial(_piece, content)
        for piece in in_order(read, starts, ahead):
            file.write(piece)
    os.replace(part, target)


def _piece(content: Content, first: int) -> bytearray:
    return read_range(client(), content, first, PIECE_BYTES)
