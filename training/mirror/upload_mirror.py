"""Keep a prefix of the object store like a local folder while a training run writes to it."""

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePosixPath

from store.client import Client
from store.errors import Changed, NoObject
from store.objects import delete, list_files, write
from store.parallel import in_parallel
from store.transfers import fetch_files, upload_file
from store.urls import S3Url
from training.command_line import TrainingError
from training.mirror.checkpoint_state import CheckpointState, Stamp, is_state, stamp_of
from training.mirror.insistence import insist

INTERVAL_SECONDS = 2.0
GIVE_UP_AFTER_SECONDS = 300.0
# Files that still grow (logs, event files) are put as the snapshot that was read.
_SNAPSHOT_BYTES = 8 * 2**20
# Names that TensorFlow, and this package, give to files that are not complete yet.
_UNFINISHED = re.compile(r"\.part(/|$)|\.tmp|\.tempstate|_temp(/|$)")
_FETCH_ATTEMPTS = 3


class UploadMirror:
    """A thread that uploads new and changed files, and deletes from the store what is deleted here.

    A failed upload is tried again with growing pauses. When that has gone on for
    `give_up_after` seconds, `on_failure` is called once, and `finish` raises.

    Args:
        exclude: names directly in `folder` that stay local.
        on_failure: called in the mirror's thread.
    """

    def __init__(
        self,
        client: Client,
        folder: Path,
        url: S3Url,
        *,
        exclude: frozenset[str] = frozenset(),
        interval: float = INTERVAL_SECONDS,
        give_up_after: float = GIVE_UP_AFTER_SECONDS,
        on_failure: Callable[[], None] | None = None,
    ) -> None:
        self._client = client
        self._folder = folder
        self._url = url
        self._exclude = exclude
        self._interval = interval
        self._give_up_after = give_up_after
        self._on_failure = on_failure
        self._uploaded: dict[str, Stamp] = {}
        self._states: dict[str, CheckpointState] = {}
        self._failure: Exception | None = None
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
            file, path = self._folder / entry.path, PurePosixPath(entry.path)
            self._uploaded[entry.path] = stamp_of(file)
            if is_state(path):
                self._states[entry.path] = CheckpointState.read(file, path)
        return len(wanted)

    def start(self) -> None:
        """Begin to mirror."""
        self._thread.start()

    def finish(self, timeout: float | None = None) -> None:
        """Stop after a last pass; wait for it at most `timeout` seconds.

        Raises TrainingError when something could not be uploaded. Not after a time-out.
        """
        self._stop.set()
        self._thread.join(timeout)
        self.check()

    def check(self) -> None:
        """Raise TrainingError when the mirror has given up."""
        if self._failure is not None:
            raise TrainingError(f"Gave up uploading to '{self._url}'. {self._failure}")

    def _run(self) -> None:
        stopping = False
        while not stopping:
            # Asked before the pass: what was written before `finish` is in the last pass.
            stopping = self._stop.is_set()
            began = time.monotonic()
            try:
                insist(self._upload_changes, give_up_after=self._give_up_after)
            except Exception as error:
                # Whatever it is: a run whose files are not kept must not look like a success.
                self._failure = error
                if self._on_failure is not None:
                    self._on_failure()
                return
            # At most half of the time goes to uploads, however big the files are.
            self._stop.wait(max(self._interval, time.monotonic() - began))

    def _upload_changes(self) -> None:
        # Read before the folder is listed: the files that a state names are older than itself.
        states = self._read_states()
        present = self._scan()
        changed = [
            path
            for path, stamp in present.items()
            if self._uploaded.get(path) != stamp and not is_state(path)
        ]
        in_parallel(lambda path: self._upload(path, present[path]), changed)
        for path, state in states.items():
            if self._uploaded.get(path) != state.stamp and self._all_uploaded(state):
                write(self._client, self._url / path, state.content)
                self._uploaded[path] = state.stamp
                self._states[path] = state
        # States first: none may name what is gone.
        for path in sorted(set(self._uploaded) - set(present), key=is_state, reverse=True):
            if not self._is_named(path):
                delete(self._client, self._url / path)
                del self._uploaded[path]
                self._states.pop(path, None)

    def _read_states(self) -> dict[str, CheckpointState]:
        found = {}
        for file in self._files():
            path = PurePosixPath(file.relative_to(self._folder).as_posix())
            if not is_state(path) or path.parts[0] in self._exclude:
                continue
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                found[str(path)] = CheckpointState.read(file, path)
        return found

    def _all_uploaded(self, state: CheckpointState) -> bool:
        """Whether the store has all that `state` names; a fast run may have deleted some here."""
        return all(f"{checkpoint}.index" in self._uploaded for checkpoint in state.checkpoints)

    def _is_named(self, path: str) -> bool:
        """Whether a state file in the store names the checkpoint that `path` is a part of."""
        return any(
            path.startswith(f"{checkpoint}.")
            for state in self._states.values()
            for checkpoint in state.checkpoints
        )

    def _files(self) -> Iterator[Path]:
        """Yield what is there but for folders. One that goes meanwhile, like that of an export that
        is renamed, is passed over; `Path.rglob` raises then."""

        def on_error(error: OSError) -> None:
            # What can't be listed must not look as if it were deleted.
            if not isinstance(error, FileNotFoundError):
                raise error

        for folder, _, names in os.walk(self._folder, onerror=on_error):
            yield from (Path(folder, name) for name in names)

    def _scan(self) -> dict[str, Stamp]:
        found = {}
        for file in self._files():
            path = file.relative_to(self._folder)
            if path.parts[0] in self._exclude or _UNFINISHED.search(path.as_posix()):
                continue
            # A file may go between listing and looking: checkpoints are rotated.
            with contextlib.suppress(FileNotFoundError):
                if file.is_file():
                    found[path.as_posix()] = stamp_of(file)
        return found

    def _upload(self, path: str, stamp: Stamp) -> None:
        file = self._folder / path
        try:
            if stamp[0] <= _SNAPSHOT_BYTES:
                write(self._client, self._url / path, file.read_bytes())
            else:
                upload_file(self._client, file, self._url / path)
        except FileNotFoundError:
            return
        self._uploaded[path] = stamp
