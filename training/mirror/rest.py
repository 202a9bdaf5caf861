"""Tells files that are complete from those that are being written in place.

Nobody says when a file is complete. One that did not change between two looks counts as such, and
one that only grew: logs and event files are complete at every moment. The rest has to wait, so that
half a checkpoint never takes the place of a good one. After a kill nothing changes any more: then
the time of the last write counts alone.
"""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from training.mirror.checkpoint_state import Stamp

_SAMPLE_BYTES = 4096
_QUIET_NS = 10**9
"""Between the last write to a file and the end of who wrote it: a file that is written in place is
written to until then."""
_GROWING_MARKS = ("tfevents",)
"""In names of files that are only ever appended to."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What was uploaded of a file."""

    stamp: Stamp
    sample: bytes
    """Digest of the beginning and of the end of what was uploaded; empty: nobody knows it."""
    at: float
    """By the monotonic clock."""


def sample_of(file: Path, size: int) -> bytes:
    """Return a digest of the first KiBs of a file, and of those before its byte `size`."""
    digest = hashlib.blake2b(digest_size=16)
    with file.open("rb") as content:
        digest.update(content.read(min(size, _SAMPLE_BYTES)))
        content.seek(max(0, size - _SAMPLE_BYTES))
        digest.update(content.read(min(size, _SAMPLE_BYTES)))
    return digest.digest()


def is_growing(path: str) -> bool:
    """Say whether a file of this path is only ever appended to, as its name says."""
    return any(mark in path for mark in _GROWING_MARKS)


class Rest:
    """What is known of files from one look to the next."""

    def __init__(self, patient_seconds: float) -> None:
        """Begin.

        Args:
            patient_seconds: a new file that is written to all the time counts as complete then.
        """
        self._patient_seconds = patient_seconds
        self._seen: Mapping[str, Stamp] = {}
        self._first_seen: dict[str, float] = {}
        self._ended_ns: int | None = None
        self.is_over = False
        """Whether nobody writes any more."""

    def ends(self, cut_at: float | None) -> None:
        """Note that nobody writes any more.

        Args:
            cut_at: when who wrote was killed, in seconds since 1970, and may have left half a file;
                None: it ended by itself.
        """
        self._ended_ns = None if cut_at is None else int(cut_at * 1e9)
        self.is_over = True

    def looks(self, present: Mapping[str, Stamp]) -> Mapping[str, Stamp]:
        """Note what is there now; return what was there before."""
        before, self._seen = self._seen, dict(present)
        now = time.monotonic()
        self._first_seen = {path: self._first_seen.get(path, now) for path in present}
        return before

    def is_complete(
        self, path: str, file: Path, stamp: Stamp, before: Stamp | None, sent: Sent | None
    ) -> bool:
        """Say whether a file that has changed may be uploaded.

        Args:
            path: of the file, as in `looks`.
            file: where it is.
            stamp, before: its stamp at this look, and at the one before.
            sent: what was uploaded of it last.
        """
        if is_growing(path):
            return True
        if self.is_over:
            if self._ended_ns is None or stamp[1] <= self._ended_ns - _QUIET_NS:
                return True
        elif stamp == before:
            return True
        elif sent is None:
            return time.monotonic() - self._first_seen[path] >= self._patient_seconds
        return sent is not None and _has_grown(file, stamp, sent)


def _has_grown(file: Path, stamp: Stamp, sent: Sent) -> bool:
    size = sent.stamp[0]
    return stamp[0] > size and sent.sample == sample_of(file, size)
