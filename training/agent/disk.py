"""The disk of a training pod: known when it is full, and when Kubernetes ends the pod for it.

A node whose disk is nearly full ends pods (an eviction), and the Job starts another one at no
charge, which fetches all data again. A pod is not told why it is to end. But of one that is evicted
for the disk nothing is left 2 s after SIGTERM, while whoever drains a node or takes it back, as
clouds do with cheap ones, leaves the pod its whole grace. So a note is kept in the store as long as
the disk is nearly full. It counts from SIGTERM on, and is deleted when the agent is alive some
seconds later, or ends in any other way.

A pod that writes more than its flavour's disk is ended in the same way, by whatever it began with.
The run ends before that, and says why.
"""

import contextlib
import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from store.room import FULL, in_gb, used
from training.command_line import TrainingError

NOTE_FILE = "disk.json"
"""Below the URL of `--train_url` (docs/contracts.md)."""
_LOOK_SECONDS = 1.0
FULL_SECONDS = 10.0
"""A disk that is full for so long ends the run: nothing that it goes on to compute can be kept."""
_SUSPICIOUS_BYTES = 16 * 2**20
"""With less than this free, a file is written to see whether that can be done."""
_TRIED_BYTES = 64 * 1024
_EVICTING = 0.15
"""Part of the disk that is free when Kubernetes ends pods, by default at the most."""
_EVICTED_SECONDS = 5.0
"""Who lives so long after SIGTERM is not evicted for the disk: the kubelet sends SIGKILL after 2 s
(`minimumGracePeriodInSeconds`), unless its eviction thresholds are soft."""
_MOST_ENDS = 2
"""So many pods of a run in succession may end like this."""
_COUNTING_SHARE = 0.02
"""Of the time goes into counting what the pod has written: there may be a million files."""
LARGE_BYTES = 2**30
"""What is fetched anew without a word: less than this costs nobody anything."""


class Disk:
    """Looks at the disk of a folder, in a thread of its own.

    Args:
        folder: on the disk.
        note: the file that is kept in the store.
        say: takes a line for the log.
        on_full: called when the disk has been full for `full_seconds`, in the thread.
        full_seconds: how long it may be full.
        large_bytes: from how many bytes on it matters that they are fetched again.
        limit: bytes that the pod may write; None: as much as the disk has.
        counted: the folders to which it writes.
    """

    def __init__(
        self,
        folder: Path,
        note: Path,
        say: Callable[[str], None],
        on_full: Callable[[], None],
        *,
        full_seconds: float = FULL_SECONDS,
        large_bytes: int = LARGE_BYTES,
        limit: int | None = None,
        counted: Sequence[Path] = (),
    ) -> None:
        self._folder = folder
        self._note = note
        self._say = say
        self._on_full = on_full
        self._full_seconds = full_seconds
        self._large_bytes = large_bytes
        self._limit = limit
        self._counted = counted
        self._count_at = 0.0
        self._too_much = ""
        self._fetched = 0
        self._ends = 0
        self._full_since: float | None = None
        self._was_full = False
        self._gave_up = False
        self._keeping: threading.Thread | None = None
        """Puts the note into the store."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="disk", daemon=True)

    def require_another_try(self) -> None:
        """Raise TrainingError when the pods before this one were ended for their node's disk."""
        try:
            before = json.loads(self._note.read_bytes())
            ends, free, total = (int(before[key]) for key in ("ends", "free", "total"))
            fetched, told = int(before["fetched"]), bool(before.get("told"))
        except (OSError, ValueError, KeyError, TypeError):
            return
        # Written again, with its number, if this pod's disk is like that, too.
        self._forget()
        if not told:
            # Its node was lost, or it had no memory left.
            return
        self._ends = ends + 1
        if self._ends < _MOST_ENDS:
            return
        raise TrainingError(
            f"{self._ends} pods of this run were ended within seconds while the disk of their node "
            f"was nearly full ({in_gb(free)} of {in_gb(total)} were free), after each had fetched "
            f"{in_gb(fetched)}. A third one would end like them. Give dlstack:flavour a disk "
            "(dlstack:flavours), so that nodes with room are chosen, or free the nodes' disks."
        )

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def fetches(self, size: int) -> None:
        """Note that so many bytes more are fetched."""
        self._fetched += size

    def check(self) -> None:
        """Raise TrainingError when the disk has been full for too long."""
        if self._gave_up:
            raise TrainingError(self.problem())

    def problem(self) -> str:
        """Return why the disk is the reason of a failure; empty if it was never full."""
        if self._too_much:
            return self._too_much
        if not self._was_full and not self.is_full():
            return ""
        disk = shutil.disk_usage(self._folder)
        data = f", code and data take {in_gb(self._fetched)}" if self._fetched else ""
        return (
            f"The disk of the pod is full: of {in_gb(disk.total)} at '{self._folder}' "
            f"{in_gb(disk.free)} are free{data}. Give dlstack:flavour a bigger disk "
            "(dlstack:flavours), or let the boot file write less."
        )

    def too_much(self) -> str:
        """Return that the pod has written more than it may, for which Kubernetes ends it."""
        if self._limit is None or self._too_much:
            return self._too_much
        written = sum(map(used, self._counted))
        if written > self._limit:
            self._too_much = (
                f"The pod has written {in_gb(written)} to its node's disk, and dlstack:flavour has "
                f"a disk of {in_gb(self._limit)}: Kubernetes ends such a pod. Give the flavour a "
                "bigger disk (dlstack:flavours), or let the boot file write less."
            )
        return self._too_much

    def is_full(self) -> bool:
        """Say whether nothing can be written."""
        try:
            status = os.statvfs(self._folder)
            if status.f_bavail * status.f_frsize > _SUSPICIOUS_BYTES and status.f_favail != 0:
                return False
            tried = self._folder / f".{uuid.uuid4()}.part"
            try:
                tried.write_bytes(bytes(_TRIED_BYTES))
            finally:
                with contextlib.suppress(OSError):
                    tried.unlink()
        except OSError as error:
            return error.errno in FULL
        return False

    def ends(self) -> None:
        """Stop looking: the pod does not end for its disk."""
        self._stop()
        self._forget()

    def told_to_end(self, keep: Callable[[bytes], None]) -> None:
        """Stop looking. If the disk is nearly full, the pod may have two seconds left.

        Args:
            keep: puts the note into the store.
        """
        self._stop()
        try:
            note = {**json.loads(self._note.read_bytes()), "told": True}
        except (OSError, ValueError):
            return
        content = json.dumps(note).encode()
        with contextlib.suppress(OSError):
            self._note.write_bytes(content)
        # A store that is away must not take the time that is left for checkpoints.
        self._keeping = threading.Thread(
            target=keep, args=(content,), name="disk-note", daemon=True
        )
        self._keeping.start()

    def was_spared(self, told_at: float, until: float) -> bool:
        """Wait until it is known that a pod was not evicted, and forget the note.

        Args:
            told_at: when it was told to end, by the monotonic clock.
            until: no longer than this.

        Returns:
            Whether there was a note, which is to go from the store.
        """
        if not self._note.exists() or told_at + _EVICTED_SECONDS > until:
            return False
        time.sleep(max(0.0, told_at + _EVICTED_SECONDS - time.monotonic()))
        if self._keeping is not None:
            # Else a slow store would get it after it was deleted there.
            self._keeping.join(max(0.0, until - time.monotonic()))
        self._forget()
        return True

    def _stop(self) -> None:
        self._over.set()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(_LOOK_SECONDS)

    def _look(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            self._look_whether_full()
            self._look_whether_too_much()
            self._look_whether_evicting()

    def _look_whether_full(self) -> None:
        if not self.is_full():
            self._full_since = None
            return
        now = time.monotonic()
        if self._full_since is None:
            self._full_since, self._was_full = now, True
            self._say(
                f"The disk at '{self._folder}' is full. If it stays so for "
                f"{self._full_seconds:g} s, the run ends."
            )
        if now - self._full_since >= self._full_seconds and not self._gave_up:
            self._gave_up = True
            self._on_full()

    def _look_whether_too_much(self) -> None:
        began = time.monotonic()
        if self._limit is None or self._gave_up or began < self._count_at:
            return
        if self.too_much():
            self._gave_up = True
            self._on_full()
        now = time.monotonic()
        self._count_at = now + (now - began) / _COUNTING_SHARE

    def _look_whether_evicting(self) -> None:
        disk = shutil.disk_usage(self._folder)
        if self._fetched < self._large_bytes or disk.free >= _EVICTING * disk.total:
            self._forget()
        elif not self._note.exists():
            found = {"ends": self._ends, "free": disk.free, "total": disk.total}
            with contextlib.suppress(OSError):
                self._note.write_text(json.dumps({**found, "fetched": self._fetched}))

    def _forget(self) -> None:
        with contextlib.suppress(OSError):
            self._note.unlink()
