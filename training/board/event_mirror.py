"""Keep a local copy of the event files below a prefix fresh, for TensorBoard.

TensorBoard keeps a file open and reads on at its end, so a file that grew is appended to and
never replaced by another of the same name.
"""

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NoReturn

from store.client import Client, from_environment
from store.errors import Changed, NoObject, StoreError
from store.objects import StoredObject, list_files, read
from store.urls import S3Url
from training.command_line import ArgumentParser, TrainingError, positive_float

_EVENT_FILE_MARK = "tfevents"
OBJECTS_IN_A_LISTING = 1000
"""The most objects in S3's answer to one request."""


class EventMirror:
    """Copies event files from the store to a folder, one listing at a time."""

    def __init__(self, client: Client, source: S3Url, target: Path) -> None:
        self._client = client
        self._source = source
        self._target = target
        self._etags: dict[str, str] = {}
        self.list_calls = 0
        """Requests that the last listing took."""

    def refresh(self) -> int:
        """Make the folder like the store once; return how many bytes were fetched."""
        entries = list(list_files(self._client, self._source))
        self.list_calls = 1 + len(entries) // OBJECTS_IN_A_LISTING
        listed = {entry.path: entry for entry in entries if _wanted(entry)}
        fetched = sum(self._refresh_file(entry) for entry in listed.values())
        for file in self._target.rglob(f"*{_EVENT_FILE_MARK}*"):
            if file.is_file() and file.relative_to(self._target).as_posix() not in listed:
                file.unlink()
                self._etags.pop(file.relative_to(self._target).as_posix(), None)
        return fetched

    def pause_after(self, fetched: int, interval: float) -> float:
        """Return how many seconds to wait after `refresh` has fetched so many bytes.

        `interval` after new data. Otherwise `interval` for each request that the listing took, so
        that an idle bucket of many runs costs no more requests than one of few.
        """
        return interval if fetched else interval * self.list_calls

    def _refresh_file(self, entry: StoredObject) -> int:
        file = self._target / entry.path
        size = file.stat().st_size if file.exists() else None
        known = self._etags.get(entry.path)
        if size == entry.size and known in (None, entry.etag):
            self._etags[entry.path] = entry.etag
            return 0
        # Event files only grow; one that shrank, or changed at the same size, is another file.
        grown = size is not None and size < entry.size
        try:
            content = read(
                self._client,
                self._source / entry.path,
                first_byte=size if grown and size is not None else 0,
                etag=entry.etag,
            )
        except (NoObject, Changed):
            # Written to since the listing: the next round gets it.
            return 0
        if grown:
            with file.open("ab") as growing:
                growing.write(content)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            # TensorBoard looks only at names with the mark.
            temporary = file.with_name(f".fetching-{file.name.replace(_EVENT_FILE_MARK, '')}")
            temporary.write_bytes(content)
            os.replace(temporary, file)
        self._etags[entry.path] = entry.etag
        return len(content)


def main(arguments: Sequence[str]) -> NoReturn:
    """Mirror until SIGTERM. A store that can't be reached is reported once and tried again."""
    parser = ArgumentParser(
        prog="python3 -m training mirror",
        description="Keep a local copy of the event files below an s3:// prefix fresh.",
    )
    parser.add_argument("--source_url", required=True, help="s3:// prefix of the event files")
    parser.add_argument("--target_dir", required=True, type=Path, help="local folder for the copy")
    parser.add_argument(
        "--interval_seconds",
        type=positive_float,
        default=5.0,
        help="pause between two listings, or two requests of a long one when idle",
    )
    options = parser.parse_args(arguments)
    # Nothing here needs an orderly end: a file cut short is completed by the next start.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

    source = S3Url.parse(options.source_url, "--source_url")
    mirror = EventMirror(from_environment(), source, options.target_dir)
    try:
        options.target_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(
            f"--target_dir='{options.target_dir}' can't be made: {error.strerror}. "
            "Give a folder that can be written to."
        ) from error
    print(
        f"Mirroring {options.source_url} to {options.target_dir} "
        f"every {options.interval_seconds:g} s",
        flush=True,
    )
    _keep_fresh(mirror, options.interval_seconds)


def _keep_fresh(mirror: EventMirror, interval: float) -> NoReturn:
    """Refresh for ever, with pauses of `interval` seconds or more."""
    failing = False
    while True:
        pause = interval
        try:
            fetched = mirror.refresh()
            pause = mirror.pause_after(fetched, interval)
            if failing:
                print("The object store answers again", flush=True)
            failing = False
        except (StoreError, OSError) as error:
            if not failing:
                print(f"warning: {error} Trying again.", file=sys.stderr, flush=True)
            failing = True
        time.sleep(pause)


def _wanted(entry: StoredObject) -> bool:
    path = PurePosixPath(entry.path)
    return _EVENT_FILE_MARK in path.name and ".." not in path.parts
