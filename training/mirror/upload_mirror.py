"""Keep a prefix of the object store like a local folder while a training run writes to it."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath

from store.client import Client
from store.errors import Changed, NoObject, OtherContent
from store.objects import delete, list_files, write
from store.parallel import in_parallel
from store.patience import Patience
from store.slowness import told
from store.transfers import fetch_files, upload_file
from store.urls import S3Url, unfit_for_a_key
from training.command_line import TrainingError
from training.mirror.checkpoint_state import (
    CheckpointState,
    Stamp,
    is_part,
    is_state,
    stamp_of,
)
from training.mirror.contents import Contents
from training.mirror.rest import Rest, Sent, is_growing, sample_of

INTERVAL_SECONDS = 2.0
GIVE_UP_AFTER_SECONDS = 300.0
"""How long a store may be away, unless who mirrors knows better."""
REFUSED_SECONDS = 1800.0
"""How long a store may refuse what it took at the beginning: keys that are taken back, a quota."""
_SLOW_SECONDS = 30.0
"""An upload that takes longer is told."""
# Files that still grow (logs, event files) are put as the snapshot that was read.
_SNAPSHOT_BYTES = 8 * 2**20
_GROWTH = 8
"""A larger one is sent again once it has grown by this part of it, or after `LATEST_SECONDS`: S3
knows no appending, so a log of 1 GB would go through the network again and again."""
LATEST_SECONDS = 60.0
_FETCH_ATTEMPTS = 3


def _print(line: str) -> None:
    print(line, flush=True)


class UploadMirror:
    """A thread that uploads new and changed files, and deletes from the store what is deleted here.

    A failed upload is tried again with growing pauses, and what has changed meanwhile comes along.
    When `patience` is over, `on_failure` is called once, and `finish` raises.

    A file that is written to is uploaded when it is complete (`rest`).

    Args:
        exclude: names directly in `folder` that stay local.
        beside: name below the URL -> file outside `folder` that is mirrored as if it lay in it, so
            that who empties `folder` meanwhile neither loses it nor stumbles over it. What has such
            a name in `folder` itself is not uploaded.
        patience: with the store.
        say: takes a line about uploads that take long.
        on_failure: called in the mirror's thread.
    """

    def __init__(
        self,
        client: Client,
        folder: Path,
        url: S3Url,
        *,
        exclude: frozenset[str] = frozenset(),
        beside: Mapping[str, Path] | None = None,
        interval: float = INTERVAL_SECONDS,
        patience: Patience | None = None,
        say: Callable[[str], None] = _print,
        on_failure: Callable[[], None] | None = None,
    ) -> None:
        self._client = client
        self._folder = folder
        self._url = url
        self._beside = dict(beside or {})
        self._contents = Contents(folder, exclude | set(self._beside), self._beside, say)
        self._interval = interval
        self._patience = patience or Patience.each_time(
            GIVE_UP_AFTER_SECONDS, say, refused_seconds=GIVE_UP_AFTER_SECONDS
        )
        self._say = say
        self._on_failure = on_failure
        self._uploaded: dict[str, Sent] = {}
        self._rest = Rest(LATEST_SECONDS)
        self._states: dict[str, CheckpointState] = {}
        self._cut_at: float | None = None
        self._failure: Exception | None = None
        self._unfit: TrainingError | None = None
        """Of a file that no object can stand for. All others are kept meanwhile."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upload-mirror", daemon=True)

    def fetch(self, names: Collection[str]) -> int:
        """Get what an earlier attempt at this run left; return how many files. Call before `start`.

        What was fetched counts as uploaded: it is deleted from the store when it goes here.

        Args:
            names: files and folders directly below the URL.
        """
        for attempt in range(1, _FETCH_ATTEMPTS + 1):
            wanted = [
                entry
                for entry in list_files(self._client, self._url)
                if PurePosixPath(entry.path).parts[0] in names
            ]
            try:
                fetch_files(self._client, self._url, wanted, self._folder)
                break
            except (NoObject, Changed):
                # The earlier attempt may be about to end, write, and delete an old checkpoint.
                if attempt == _FETCH_ATTEMPTS:
                    raise
        for entry in wanted:
            file, path = self._contents.file(entry.path), PurePosixPath(entry.path)
            if entry.path in self._beside:
                os.replace(self._folder / entry.path, file)
            stamp = stamp_of(file)
            self._uploaded[entry.path] = Sent(stamp, sample_of(file, stamp[0]), time.monotonic())
            if is_state(path) and (state := CheckpointState.read(file, path)) is not None:
                self._states[entry.path] = state
        return len(wanted)

    def upload(self) -> None:
        """Upload what is there now. Call before `start`: what raises can't be kept at all."""
        self._upload_changes()

    def start(self) -> None:
        """Begin to mirror."""
        self._thread.start()

    def finish(self, timeout: float | None = None, *, cut_at: float | None = None) -> None:
        """Stop after a last pass; wait for it at most `timeout` seconds.

        Args:
            timeout: seconds; None: as long as it takes.
            cut_at: when who wrote was killed, in seconds since 1970: of what was being written then
                the store keeps what it has. None: it ended by itself.

        Raises TrainingError when something could not be uploaded. Not after a time-out.
        """
        self._cut_at = cut_at
        self._stop.set()
        self._thread.join(timeout)
        self.check()

    def check(self) -> None:
        """Raise TrainingError when the mirror has given up."""
        if problem := self._failure or self._unfit:
            raise TrainingError(f"Gave up uploading to '{self._url}'. {problem}")

    def _run(self) -> None:
        stopping = refused = False
        while not stopping:
            # Asked before the pass: what was written before `finish` is in the last pass.
            if stopping := self._stop.is_set():
                self._rest.ends(self._cut_at)
            began = time.monotonic()
            try:
                with told(self._say, self._slow, _SLOW_SECONDS):
                    self._patience.ask(self._upload_changes, self._wait)
            except Exception as error:
                # Whatever it is: a run whose files are not kept must not look like a success.
                self._failure = error
                if self._on_failure is not None:
                    self._on_failure()
                return
            if stopping and self._contents.closed and self._unfit is None:
                self._unfit = TrainingError(
                    f"Not allowed to read {min(self._contents.closed)!r}. Let the boot file leave "
                    "files that it may read itself."
                )
            if self._unfit is not None and not refused and self._on_failure is not None:
                # The run ends, and its log is uploaded until then.
                refused = True
                self._on_failure()
            # At most half of the time goes to uploads, however big the files are.
            self._stop.wait(max(self._interval, time.monotonic() - began))

    def _wait(self, seconds: float) -> None:
        """Wait for the next try: it comes at once when `finish` is called."""
        if self._stop.is_set():
            time.sleep(seconds)
        else:
            self._stop.wait(seconds)

    def _slow(self, seconds: float) -> str:
        return f"Uploading to '{self._url}' takes long: {seconds:.0f} s so far."

    def _upload_changes(self) -> None:
        self._contents.begin_again()
        # Read before the folder is listed: the files that a state names are older than itself.
        states, others = self._contents.states()
        present = self._fit(self._contents.stamps())
        before = self._rest.looks(present)
        older = {
            path: set(_older_beside(path, state, present))
            for path, state in states.items()
            if not self._is_uploaded(path, state.stamp)
        }
        # Who was killed wrote these before a state that is whole: no checkpoint is kept without.
        needed = set().union(*older.values()) if self._rest.is_over else set()
        changed = [
            path
            for path, stamp in present.items()
            if not self._is_uploaded(path, stamp)
            and (not is_state(path) or others.get(path) == stamp)
            and (
                path in needed
                or _is_named(path, states)
                or self._is_ready(path, stamp, before.get(path))
            )
        ]
        small = [path for path in changed if present[path][0] <= _SNAPSHOT_BYTES]
        in_parallel(lambda path: self._upload(path, present[path]), small)
        # Each is sent by several threads, and takes memory.
        for path in changed:
            if present[path][0] > _SNAPSHOT_BYTES:
                self._upload(path, present[path])
        for path, before_it in older.items():
            state = states[path]
            if self._all_uploaded(state) and before_it <= self._uploaded.keys():
                write(self._client, self._url / path, state.content)
                self._uploaded[path] = Sent(state.stamp, b"", time.monotonic())
                self._states[path] = state
        # States first: none may name what is gone.
        for path in sorted(set(self._uploaded) - set(present), key=is_state, reverse=True):
            if not _is_named(path, self._states) and not self._contents.may_be_there(path):
                delete(self._client, self._url / path)
                del self._uploaded[path]
                self._states.pop(path, None)
        self._contents.tell_of_closed()

    def _fit(self, present: dict[str, Stamp]) -> dict[str, Stamp]:
        """Return those of which there can be an object; note another one."""
        for path in list(present):
            if problem := unfit_for_a_key((self._url / path).prefix):
                self._unfit = self._unfit or TrainingError(
                    f"The store can't have the file {path!r}: {problem}. Let the boot file give it "
                    "another name."
                )
                del present[path]
        return present

    def _all_uploaded(self, state: CheckpointState) -> bool:
        """Whether the store has all that `state` names; a fast run may have deleted some here."""
        return all(f"{checkpoint}.index" in self._uploaded for checkpoint in state.checkpoints)

    def _is_uploaded(self, path: str, stamp: Stamp) -> bool:
        sent = self._uploaded.get(path)
        return sent is not None and sent.stamp == stamp

    def _is_ready(self, path: str, stamp: Stamp, before: Stamp | None) -> bool:
        """Whether a file that has changed is to be sent now."""
        sent = self._uploaded.get(path)
        # What lies beside is written by who mirrors it: a log, which only grows, and whole files.
        return self._is_due(stamp, sent) and (
            path in self._beside or self._is_complete(path, stamp, before, sent)
        )

    def _is_complete(
        self, path: str, stamp: Stamp, before: Stamp | None, sent: Sent | None
    ) -> bool:
        with self._contents.passing_over(path):
            return self._rest.is_complete(path, self._contents.file(path), stamp, before, sent)
        return False

    def _is_due(self, stamp: Stamp, sent: Sent | None) -> bool:
        size = stamp[0]
        if self._rest.is_over or size <= _SNAPSHOT_BYTES or sent is None:
            return True
        grown = size - sent.stamp[0]
        # One that did not grow was written anew.
        return (
            not 0 < grown * _GROWTH < sent.stamp[0] or time.monotonic() - sent.at >= LATEST_SECONDS
        )

    def _upload(self, path: str, stamp: Stamp) -> None:
        """Upload a file of this stamp; one that changes meanwhile is left to a later pass."""
        file = self._contents.file(path)
        grows = path in self._beside or is_growing(path)
        sample = b""

        def require_same() -> None:
            now = stamp_of(file)
            has_grown = now[0] > stamp[0] and sample == sample_of(file, stamp[0])
            if not (grows or now == stamp or has_grown):
                raise OtherContent(f"'{path}' is written to.")

        with self._contents.passing_over(path), contextlib.suppress(OtherContent):
            sample = sample_of(file, stamp[0])
            upload_file(self._client, file, self._url / path, after_read=require_same)
            self._uploaded[path] = Sent(stamp, sample, time.monotonic())


def _older_beside(path: str, state: CheckpointState, present: Mapping[str, Stamp]) -> Iterator[str]:
    """Yield the files beside a state that were there before it and are no checkpoints.

    Who goes on from a checkpoint may need them: with what parameters it was made, for example.
    """
    folder = PurePosixPath(path).parent
    for other, (_, modified) in present.items():
        if (
            modified <= state.stamp[1]
            and PurePosixPath(other).parent == folder
            and not is_state(other)
            and not is_part(other)
        ):
            yield other


def _is_named(path: str, states: Mapping[str, CheckpointState]) -> bool:
    """Whether state files name the checkpoint that `path` is a part of."""
    return any(
        path.startswith(f"{checkpoint}.")
        for state in states.values()
        for checkpoint in state.checkpoints
    )
