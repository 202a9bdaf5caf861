"""Keep a local copy fresh of what TensorBoard reads of the runs below a prefix.

That is event files, the profiler's and the projector's files. Each run has a folder with a name for
people, and an event file with its parameters and metrics (`training.board.hparams`).

TensorBoard keeps a file open and reads on at its end, so a file that grew is appended to and
never replaced by another of the same name.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NoReturn

from store import room
from store.client import Client, from_environment
from store.errors import Changed, NoObject, NoRoom, StoreError
from store.objects import StoredObject, list_files, read, read_chunks
from store.urls import S3Url
from training.board import hparams, run_names
from training.board.projector import CONFIG_FILE, Config
from training.board.run_names import Known
from training.command_line import ArgumentParser, TrainingError, positive_float

_EVENT_FILE_MARK = "tfevents"
_PROFILE = ("plugins", "profile")
_RECORD_FILE = "run.json"
_LARGE_BYTES = 16 * 2**20
"""From this size on it is looked whether a file has room, before it fills the disk."""
OBJECTS_IN_A_LISTING = 1000
"""The most objects in S3's answer to one request."""


class EventMirror:
    """Copies the files from the store to a folder, one listing at a time."""

    def __init__(self, client: Client, source: S3Url, target: Path) -> None:
        self._client = client
        self._source = source
        self._target = target
        self._etags: dict[str, str] = {}
        """Path in the store -> of the content that was fetched."""
        self._runs: dict[str, Known] = {}
        """Run -> what its record says."""
        self._names: dict[str, str] = {}
        self._configs: dict[str, Config] = {}
        self.list_calls = 0
        """Requests that the last listing took."""

    def refresh(self) -> int:
        """Make the folder like the store once; return how many bytes were fetched.

        Raises:
            NoRoom: the disk is too small for one of the files; all others are here.
        """
        entries = list(list_files(self._client, self._source))
        self.list_calls = 1 + len(entries) // OBJECTS_IN_A_LISTING
        listed = {entry.path: entry for entry in entries if ".." not in entry.path.split("/")}
        fetched = self._refresh_records(listed) + self._refresh_configs(listed)
        of_projectors = {file for one in self._configs.values() for file in one.files(listed)}
        wanted = [path for path in listed if _is_read(path) or path in of_projectors]
        lacking: NoRoom | None = None
        for path in wanted:
            try:
                fetched += self._refresh_file(listed[path])
            except NoRoom as error:
                # What is smaller may still have room.
                lacking = error
        made = {*self._write_hparams(), *self._write_configs(listed)}
        self._remove_all_but(made | {self._place(path) for path in wanted})
        for gone in self._etags.keys() - listed.keys():
            del self._etags[gone]
        if lacking is not None:
            raise lacking
        return fetched

    def pause_after(self, fetched: int, interval: float) -> float:
        """Return how many seconds to wait after `refresh` has fetched so many bytes.

        `interval` after new data. Otherwise `interval` for each request that the listing took, so
        that an idle bucket of many runs costs no more requests than one of few.
        """
        return interval if fetched else interval * self.list_calls

    def _place(self, path: str) -> Path:
        """Return the copy of what has this path in the store."""
        run, _, rest = path.partition("/")
        return self._target / self._names.get(run, run) / rest

    def _refresh_records(self, listed: Mapping[str, StoredObject]) -> int:
        """Read the records that changed, and name the runs by them."""
        fetched = 0
        for path, entry in listed.items():
            run, _, rest = path.partition("/")
            if rest == _RECORD_FILE:
                content = self._changed(entry)
                fetched += len(content)
                if content:
                    self._note(run, content)
        for run in [run for run in self._runs if f"{run}/{_RECORD_FILE}" not in listed]:
            del self._runs[run]
        before, self._names = self._names, run_names.names(self._runs)
        for run, name in self._names.items():
            old, new = self._target / before.get(run, run), self._target / name
            if old != new and old.is_dir() and not new.exists():
                # What it said of the run's state holds no longer.
                (old / hparams.EVENT_FILE).unlink(missing_ok=True)
                old.rename(new)
        return fetched

    def _note(self, run: str, content: bytes) -> None:
        try:
            known = Known.of(run, json.loads(content))
        except ValueError:
            known = None
        if known is not None:
            self._runs[run] = known

    def _refresh_configs(self, listed: Mapping[str, StoredObject]) -> int:
        fetched = 0
        for path, entry in listed.items():
            if PurePosixPath(path).name == CONFIG_FILE and (content := self._changed(entry)):
                fetched += len(content)
                self._configs[path] = Config(path, content.decode(errors="replace"))
        for path in self._configs.keys() - listed.keys():
            del self._configs[path]
        return fetched

    def _changed(self, entry: StoredObject) -> bytes:
        """Return the content of a small file if it is another than before, else nothing."""
        if self._etags.get(entry.path) == entry.etag:
            return b""
        try:
            content = read(self._client, self._source / entry.path, etag=entry.etag)
        except (NoObject, Changed):
            # Written to since the listing: the next round gets it.
            return b""
        self._etags[entry.path] = entry.etag
        return content

    def _refresh_file(self, entry: StoredObject) -> int:
        file = self._place(entry.path)
        size = file.stat().st_size if file.exists() else None
        known = self._etags.get(entry.path)
        if size == entry.size and known in (None, entry.etag):
            self._etags[entry.path] = entry.etag
            return 0
        # Event files only grow; one that shrank, or changed at the same size, is another file.
        grown = size is not None and size < entry.size and _EVENT_FILE_MARK in file.name
        lacks = entry.size - (size if grown and size is not None else 0)
        if lacks >= _LARGE_BYTES:
            room.require(self._target, lacks, f"'{self._source / entry.path}'")
        chunks = read_chunks(
            self._client,
            self._source / entry.path,
            first_byte=size if grown and size is not None else 0,
            etag=entry.etag,
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        # TensorBoard looks only at names with the mark.
        temporary = file.with_name(f".fetching-{file.name.replace(_EVENT_FILE_MARK, '')}")
        fetched = 0
        try:
            # Never all of it at once: files of pictures, or of the profiler, may be large.
            with file.open("ab") if grown else temporary.open("wb") as copy:
                for chunk in chunks:
                    copy.write(chunk)
                    fetched += len(chunk)
        except (NoObject, Changed):
            # Written to since the listing: the next round gets it.
            return fetched
        if not grown:
            os.replace(temporary, file)
        self._etags[entry.path] = entry.etag
        return fetched

    def _write_hparams(self) -> list[Path]:
        """Write parameters and metrics of the runs; return the files."""
        files = []
        for run, known in self._runs.items():
            file = self._target / self._names[run] / hparams.EVENT_FILE
            content = hparams.event_file(known)
            there = file.read_bytes() if file.exists() else b""
            file.parent.mkdir(parents=True, exist_ok=True)
            if content.startswith(there):
                with file.open("ab") as growing:
                    growing.write(content[len(there) :])
            elif content != there:
                file.write_bytes(content)
            files.append(file)
        return files

    def _write_configs(self, listed: Mapping[str, StoredObject]) -> list[Path]:
        """Write what the projector is told, with paths of the copy; return the files."""
        files = []
        for path, config in self._configs.items():
            file = self._place(path)
            text = config.localized(listed, lambda path: str(self._place(path).absolute()))
            file.parent.mkdir(parents=True, exist_ok=True)
            if not file.exists() or file.read_text() != text:
                file.write_text(text)
            files.append(file)
        return files

    def _remove_all_but(self, kept: set[Path]) -> None:
        for folder, _, names in os.walk(self._target, topdown=False):
            for name in names:
                if Path(folder, name) not in kept:
                    Path(folder, name).unlink()
            if Path(folder) != self._target and not os.listdir(folder):
                os.rmdir(folder)


def main(arguments: Sequence[str]) -> NoReturn:
    """Mirror until SIGTERM. A store that can't be reached is reported once and tried again."""
    parser = ArgumentParser(
        prog="python3 -m training mirror",
        description="Keep a local copy fresh of what TensorBoard reads below an s3:// prefix.",
    )
    parser.add_argument("--source_url", required=True, help="s3:// prefix of the runs")
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


def _is_read(path: str) -> bool:
    """Say whether TensorBoard reads a file of this path, whatever else there is."""
    *folders, name = path.split("/")
    return _EVENT_FILE_MARK in name or any(
        tuple(folders[number : number + 2]) == _PROFILE for number in range(len(folders))
    )
