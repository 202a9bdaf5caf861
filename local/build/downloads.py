"""Downloads of archives: side by side, and used only when their checksum is the one expected.

An archive is unpacked while it comes, into a folder that nobody looks into. The folder gets its
name when the checksum of the whole is right.
"""

import fnmatch
import hashlib
import http.client
import io
import os
import shutil
import tarfile
import threading
import urllib.error
import urllib.request
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..console import LocalError
from ..durable import settle_folder

ANSWER_SECONDS = 2.0
"""A server that has not begun to answer by then counts as one that can't be reached."""
_STALLED_SECONDS = 30.0
_BLOCK = 2**20


@dataclass(frozen=True)
class Archive:
    """A compressed tar archive that somebody has published, with its checksum."""

    url: str
    algorithm: str
    """`sha256` or `sha512`."""
    checksum: str
    members: Mapping[str, str]
    """Name that a file gets here -> pattern (fnmatch) of its path in the archive."""


class Download:
    """One archive on its way into a folder."""

    def __init__(self, archive: Archive, folder: Path) -> None:
        self.archive = archive
        self.received = 0
        """Bytes so far."""
        self.size = 0
        """Bytes in all; 0 as long as the server has not said it."""
        self.failure = ""
        """Why it could not be had, in words."""
        self.given_up = False
        self._folder = folder
        self._wrong: LocalError | None = None
        self._answered = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def is_coming(self, seconds: float) -> bool:
        """Whether the server answers within so many seconds; if not, the download is given up."""
        if not self._answered.wait(seconds):
            self.given_up = True
            self.failure = f"no answer in {ANSWER_SECONDS:.0f} s"
        return not self.failure

    def finish(self) -> bool:
        """Wait for the end; false when it could not be had.

        Raises:
            LocalError: what came is something else than expected. It was not kept.
        """
        if not self.given_up:
            self._thread.join()
        if self._wrong is not None:
            raise self._wrong
        return not self.failure

    def _run(self) -> None:
        unfinished = self._folder.with_name(f"{self._folder.name}.{os.getpid()}.new")
        try:
            for _ in range(2):
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir(parents=True)
                self.failure = self._receive(unfinished)
                if self.given_up or not self.failure or not self.received:
                    break
            if not self.failure and not self.given_up and not self._folder.exists():
                settle_folder(unfinished, self._folder)
        except LocalError as error:
            self._wrong = error
        finally:
            self._answered.set()
            shutil.rmtree(unfinished, ignore_errors=True)

    def _receive(self, folder: Path) -> str:
        """Unpack the archive into `folder`; in words, what kept it from coming."""
        self.received = 0
        try:
            with urllib.request.urlopen(self.archive.url, timeout=_STALLED_SECONDS) as response:
                self.size = int(response.headers.get("Content-Length") or 0)
                self._answered.set()
                stream = _Summed(self, response)
                problem = _unpack(stream, self.archive.members, folder)
                while stream.read(_BLOCK):
                    pass
        except urllib.error.HTTPError as error:
            error.close()
            return f"{error.code} {error.reason}"
        except (OSError, http.client.HTTPException) as error:
            # A URLError is an OSError, too.
            return str(getattr(error, "reason", "") or error or type(error).__name__)
        if self.given_up:
            return self.failure
        if self.received < self.size:
            return f"broke off after {self.received} of {self.size} bytes"
        if stream.checksum != self.archive.checksum:
            raise LocalError(
                f"{self.archive.url} is not what it should be: its {self.archive.algorithm} is "
                f"{stream.checksum}, expected {self.archive.checksum}. It is not used.",
                "Try again; or set DLSTACK_RELEASES=none, then it is built from its sources.",
            )
        if problem:
            raise LocalError(
                f"{self.archive.url} can't be used: {problem}.",
                "Correct `members` in the file that DLSTACK_RELEASES names.",
            )
        return ""


class _Summed(io.RawIOBase):
    """What a server sends, with a checksum of all that was read."""

    def __init__(self, download: Download, source: http.client.HTTPResponse) -> None:
        self._download = download
        self._source = source
        self._sum = hashlib.new(download.archive.algorithm)

    @property
    def checksum(self) -> str:
        return self._sum.hexdigest()

    def read(self, size: int = -1) -> bytes:
        if self._download.given_up:
            raise OSError("given up")
        data = self._source.read(size)
        self._sum.update(data)
        self._download.received += len(data)
        return data


def _unpack(stream: _Summed, members: Mapping[str, str], folder: Path) -> str:
    """Write the members into `folder` as programs; in words, what is wrong with the archive."""
    missing = dict(members)
    try:
        with tarfile.open(fileobj=stream, mode="r|gz", bufsize=_BLOCK) as archive:
            for entry in archive:
                path = entry.name.removeprefix("./")
                names = [name for name in missing if fnmatch.fnmatch(path, missing[name])]
                content = archive.extractfile(entry) if names and entry.isreg() else None
                if content is None:
                    continue
                target = folder / names[0]
                with target.open("wb") as file:
                    shutil.copyfileobj(content, file, _BLOCK)
                target.chmod(0o755)
                del missing[names[0]]
    except (tarfile.TarError, zlib.error, EOFError) as error:
        return f"it is no gzipped tar archive ({error})"
    return f"it has no {', '.join(missing.values())}" if missing else ""
