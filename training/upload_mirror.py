"""Keep a prefix of the object store like a local folder while a training run writes to it."""

import contextlib
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

from training.command_line import TrainingError
from training.object_store import ObjectStore, S3Url, StoreError, in_parallel

INTERVAL_SECONDS = 2.0
GIVE_UP_AFTER_SECONDS = 60.0
# Files that still grow (logs, event files) are put as the snapshot that was read.
_SNAPSHOT_BYTES = 8 * 2**20
# Names that TensorFlow, and this package, give to files that are not complete yet.
_UNFINISHED = re.compile(r"\.part(/|$)|\.tmp|\.tempstate|_temp(/|$)")
_CHECKPOINT_STATE = "checkpoint"

# What tells that a file has changed: size in bytes, and modification time in ns.
_Stamp = tuple[int, int]


class UploadMirror:
    """A thread that uploads new and changed files, and deletes what it uploaded and is gone.

    A failed upload is tried again with growing pauses. When that has gone on for
    `give_up_after` seconds, `on_failure` is called once, and `finish` raises.

    Args:
        exclude: names directly in `folder` that stay local.
        on_failure: called in the mirror's thread.
    """

    def __init__(
        self,
        store: ObjectStore,
        folder: Path,
        url: S3Url,
        *,
        exclude: frozenset[str] = frozenset(),
        interval: float = INTERVAL_SECONDS,
        give_up_after: float = GIVE_UP_AFTER_SECONDS,
        on_failure: Callable[[], None] | None = None,
    ) -> None:
        self._store = store
        self._folder = folder
        self._url = url
        self._exclude = exclude
        self._interval = interval
        self._give_up_after = give_up_after
        self._on_failure = on_failure
        self._uploaded: dict[str, _Stamp] = {}
        self._failure: StoreError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upload-mirror", daemon=True)

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
            if not self._pass_with_retries():
                return
            # At most half of the time goes to uploads, however big the files are.
            self._stop.wait(max(self._interval, time.monotonic() - began))

    def _pass_with_retries(self) -> bool:
        pause = 0.5
        began = time.monotonic()
        while True:
            try:
                self._upload_changes()
                return True
            except StoreError as error:
                if time.monotonic() - began + pause > self._give_up_after:
                    self._failure = error
                    break
            time.sleep(pause)
            pause = min(2 * pause, 10.0)
        if self._on_failure is not None:
            self._on_failure()
        return False

    def _upload_changes(self) -> None:
        present = self._scan()
        changed = [path for path, stamp in present.items() if self._uploaded.get(path) != stamp]
        # A checkpoint's state file names the others, so it follows them.
        states = [path for path in changed if Path(path).name == _CHECKPOINT_STATE]
        in_parallel(lambda path: self._upload(path, present[path]), set(changed) - set(states))
        in_parallel(lambda path: self._upload(path, present[path]), states)
        for path in set(self._uploaded) - set(present):
            self._store.delete(self._url / path)
            del self._uploaded[path]

    def _scan(self) -> dict[str, _Stamp]:
        found = {}
        for file in self._folder.rglob("*"):
            path = file.relative_to(self._folder)
            if path.parts[0] in self._exclude or _UNFINISHED.search(path.as_posix()):
                continue
            # A file may go between listing and looking: checkpoints are rotated.
            with contextlib.suppress(FileNotFoundError):
                status = file.stat()
                if file.is_file():
                    found[path.as_posix()] = (status.st_size, status.st_mtime_ns)
        return found

    def _upload(self, path: str, stamp: _Stamp) -> None:
        file = self._folder / path
        try:
            if stamp[0] <= _SNAPSHOT_BYTES:
                self._store.write(self._url / path, file.read_bytes())
            else:
                self._store.upload_file(file, self._url / path)
        except FileNotFoundError:
            return
        self._uploaded[path] = stamp
