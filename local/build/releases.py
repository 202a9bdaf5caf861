"""Official releases: which ones are pinned, and how they come into the cache.

`releases.json` has their addresses and checksums. DLSTACK_RELEASES names another such file, by its
path or URL, for example of a company's mirror; `none` has everything built from sources, `official`
goes back to our own file. What it was set to is kept for the commands that follow.
"""

import http.client
import json
import os
import platform
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..console import LocalError, say, step
from ..home import Home
from .cache import digest
from .downloads import ANSWER_SECONDS, Archive, Download

VARIABLE = "DLSTACK_RELEASES"
REPORT = "report of releases"  # The thread that says how far downloads are.
OFFICIAL = Path(__file__).resolve().parent / "releases.json"


@dataclass(frozen=True)
class Release:
    """An archive of programs."""

    name: str
    version: str
    archive: Archive

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class Releases:
    """The releases of one home's cache."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._downloads: dict[str, Download] = {}
        self._lock = threading.Lock()

    @cached_property
    def pinned(self) -> dict[str, Release]:
        """Name -> release for this machine's architecture.

        Raises:
            LocalError: the file of pins can't be read.
        """
        place = self._place()
        if place == "none":
            self._keep(place)
            return {}
        try:
            found = _parse(json.loads(_read(place)), place)
        except (
            *(OSError, http.client.HTTPException),
            *(ValueError, KeyError, TypeError, AttributeError),
        ) as error:
            raise LocalError(
                f"{VARIABLE} is '{place}', which can't be read as a file of releases: {error!r}.",
                f"Write it like {OFFICIAL}; or set {VARIABLE} to 'official' or 'none'.",
            ) from error
        self._keep(place)
        return found

    def folder(self, name: str) -> Path | None:
        """Where the programs of a release are; None when it was not downloaded."""
        release = self.pinned.get(name)
        if release is None:
            return None
        folder = self._folder(release)
        return folder if folder.exists() else None

    def program(self, name: str) -> Path | None:
        """A program of a release that was downloaded."""
        for release in self.pinned.values():
            if name in release.archive.members and (folder := self.folder(release.name)):
                return folder / name
        return None

    def begin(self, names: Iterable[str]) -> set[str]:
        """Begin to download what is not here; in two seconds it is known what comes.

        Returns:
            The releases that are here or on their way.
        """
        wanted = [self.pinned[name] for name in sorted(set(names)) if name in self.pinned]
        here = {release.name for release in wanted if self.folder(release.name)}
        with self._lock:
            begun = [r for r in wanted if r.name not in here and r.name not in self._downloads]
            for release in begun:
                download = Download(release.archive, self._folder(release))
                self._downloads[release.name] = download
                download.start()
            until = time.monotonic() + ANSWER_SECONDS
            coming: list[Release] = []
            away: list[Release] = []
            for release in begun:
                is_coming = self._downloads[release.name].is_coming(until - time.monotonic())
                (coming if is_coming else away).append(release)
        if away:
            reasons = {self._downloads[release.name].failure for release in away}
            say(
                f"official releases are not reached ({'; '.join(sorted(reasons))}): "
                f"{', '.join(map(str, away))}; what is needed of them is built from its sources"
            )
        if coming:
            threading.Thread(target=self._report, args=(coming,), name=REPORT, daemon=True).start()
        failed = {name for name, download in self._downloads.items() if download.failure}
        return here | ({release.name for release in wanted} - failed)

    def wait(self, name: str) -> bool:
        """Wait for a release that was begun; false when it is not to be had.

        Raises:
            LocalError: its checksum is another one than expected.
        """
        download = self._downloads.get(name)
        if download is not None and not download.finish():
            if not download.given_up:
                say(f"the release of {name} did not come: {download.failure}")
            return False
        return self.folder(name) is not None

    def give_up(self, names: Iterable[str]) -> None:
        """End downloads that nobody needs: another release, without which they are of no use, is
        not to be had."""
        for name in names:
            if name in self._downloads:
                self._downloads[name].given_up = True

    def _report(self, releases: list[Release]) -> None:
        """Say how far the downloads are, until the last one has ended."""
        downloads = [self._downloads[release.name] for release in releases]

        def so_far() -> str:
            received, size = (sum(getattr(d, a) for d in downloads) for a in ("received", "size"))
            return f"({received / 1e6:.0f} of {size / 1e6:.0f} MB)"

        # Whoever waits for a download tells its error.
        with suppress(LocalError), step(f"download {', '.join(map(str, releases))}", so_far):
            for download in downloads:
                if not download.finish():
                    raise LocalError("a download failed.", "")

    def _folder(self, release: Release) -> Path:
        members = json.dumps(dict(release.archive.members), sort_keys=True)
        key = digest((), release.archive.checksum, members)
        return self._home.cache / f"release-{release.name}-{key}"

    def _place(self) -> str:
        """What DLSTACK_RELEASES is, or was when it was last set."""
        given = os.environ.get(VARIABLE)
        if given:
            is_path = "://" not in given and given not in ("none", "official")
            return os.path.abspath(given) if is_path else given
        return self._kept.read_text() if self._kept.exists() else "official"

    @property
    def _kept(self) -> Path:
        return self._home.root / "releases"

    def _keep(self, place: str) -> None:
        """Note down what DLSTACK_RELEASES is, now that it is known to be of use."""
        is_new = not self._kept.exists() or self._kept.read_text() != place
        if os.environ.get(VARIABLE) and self._home.root.exists() and is_new:
            self._kept.write_text(place)


def _read(place: str) -> str:
    if place == "official":
        return OFFICIAL.read_text()
    if "://" not in place:
        return Path(place).read_text()
    with urllib.request.urlopen(place, timeout=10) as response:
        return str(response.read().decode())


def _parse(pins: dict[str, Any], place: str) -> dict[str, Release]:
    """Read a file of releases; addresses may be relative to that of the file."""
    base = place if "://" in place else Path(place).absolute().as_uri()
    found: dict[str, Release] = {}
    for name, pin in pins.items():
        archive = pin["archives"].get(platform.machine())
        if archive is None:
            continue
        algorithm = "sha256" if "sha256" in archive else "sha512"
        found[name] = Release(
            name,
            pin["version"],
            Archive(
                urllib.parse.urljoin(base, archive["url"]),
                algorithm,
                archive[algorithm].lower(),
                pin["members"],
            ),
        )
    return found
