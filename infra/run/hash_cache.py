"""Checksums of a folder's files from the last time, so that a file that has not changed costs a
look at its entry and not its content.

A cache of this machine and this user (`~/.cache/dlstack/checksums`). It may be deleted at any time:
without it, or with a damaged one, all files are read again.
"""

import contextlib
import hashlib
import itertools
import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path

Stamp = tuple[int, int, int, int]
"""What tells that a file has changed: bytes, time of its content and of its entry (ns), inode."""

_FORM = "dlstack checksums 2"
_SHA256_DIGITS = 64
_LEAST_FILES = 500
_LEAST_BYTES = 16 * 2**20
"""A smaller folder is read as quickly as a cache."""
_SETTLED_SECONDS = 3.0
"""A file may be written twice within one tick of its file system's clock (FAT: 2 s), and look the
same after both. So what was written just now is read again the next time."""


def stamp_of(file: str) -> Stamp:
    """Return the stamp of a file as it is now. Raises OSError."""
    status = os.stat(file)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


class HashCache:
    """Path -> SHA-256 of the files of one folder, as they were when they were read last."""

    def __init__(self, folder: Path, kind: str) -> None:
        """Read the cache, if there is one.

        Args:
            folder: whose files these are.
            kind: in which form they are read: one file may have two checksums.
        """
        self._name = json.dumps([platform.node(), os.path.realpath(folder), kind])
        self._known = self._read()
        self._now: dict[str, str] = {}
        """Path -> stamp and SHA-256, in one text: there may be a million."""
        self._is_new = False

    def find(self, path: str, stamp: Stamp) -> str | None:
        """Return the SHA-256 of a file, if it was read when it had this stamp."""
        known = self._known.get(path)
        if known is None or known[:-_SHA256_DIGITS] != _text(stamp):
            return None
        self._now[path] = known
        return known[-_SHA256_DIGITS:]

    def note(self, path: str, local: str, stamp: Stamp, sha256: str) -> None:
        """Take a file along that was read since it had `stamp`.

        Args:
            path: as it is sent.
            local: on this machine.
            stamp: from before it was read.
            sha256: of what was read.
        """
        latest = max(stamp[1], stamp[2]) / 1e9
        if time.time() - latest < _SETTLED_SECONDS or stamp_of(local) != stamp:
            return
        self._now[path] = _text(stamp) + sha256
        self._is_new = True

    def save(self, *, is_whole: bool) -> None:
        """Keep what was found and noted, for the next time. Where that can't be, all goes on.

        Args:
            is_whole: the folder has nothing else. If not, what was known of it before stays.
        """
        files = self._now if is_whole else {**self._known, **self._now}
        if not self._is_new and len(files) == len(self._known):
            return
        if len(files) < _LEAST_FILES and sum(map(_size, files.values())) < _LEAST_BYTES:
            return
        with contextlib.suppress(OSError, RuntimeError):
            file = self._file()
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = file.with_name(f"{file.name}.{os.getpid()}")
            try:
                self._write(new, files)
                os.replace(new, file)
            finally:
                new.unlink(missing_ok=True)

    def _write(self, file: Path, files: Mapping[str, str]) -> None:
        digest = hashlib.sha256()
        with file.open("wb") as out:
            for line in itertools.chain(
                [_FORM, self._name], (f"{text} {json.dumps(path)}" for path, text in files.items())
            ):
                content = f"{line}\n".encode()
                digest.update(content)
                out.write(content)
            # A changed digit would be a wrong checksum.
            out.write(digest.hexdigest().encode())

    def _read(self) -> Mapping[str, str]:
        found, digest, last = {}, hashlib.sha256(), b""
        try:
            with self._file().open("rb") as lines:
                if [next(lines, b""), next(lines, b"")] != self._head:
                    return {}
                for line in self._head:
                    digest.update(line)
                for line in lines:
                    if not line.endswith(b"\n"):
                        last = line
                        break
                    digest.update(line)
                    text, _, path = line.decode().partition(' "')
                    found[json.loads(f'"{path}')] = text
        except (OSError, RuntimeError, ValueError):
            return {}
        return found if last == digest.hexdigest().encode() else {}

    @property
    def _head(self) -> list[bytes]:
        return [f"{line}\n".encode() for line in (_FORM, self._name)]

    def _file(self) -> Path:
        name = hashlib.sha256(self._name.encode()).hexdigest()[:24]
        return _caches() / "dlstack" / "checksums" / name


def _text(stamp: Stamp) -> str:
    return " ".join(map(str, stamp)) + " "


def _size(text: str) -> int:
    return int(text.partition(" ")[0])


def _caches() -> Path:
    """Return the folder for caches of this user; raise RuntimeError if nobody can tell."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
