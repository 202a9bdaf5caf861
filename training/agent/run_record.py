"""The record of a run, `run.json` in its folder: what it is, how far it is and how it ended.

It is for whoever looks at runs and compares them (docs/contracts.md), and never a reason for a run
to fail.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from store import objects
from store.client import Client
from store.errors import StoreError
from store.urls import S3Url
from training.agent.progress import Done, Progress

RECORD_FILE = "run.json"
FORMAT = 1
_PROGRESS_SECONDS = 5.0
"""How often progress is written, at most."""
_LAST_LINES_BYTES = 4096

State = Literal["running", "succeeded", "failed", "interrupted"]
Save = Callable[[bytes], None]


class RunRecord:
    """The record of one attempt at a run, which goes on with that of an earlier one.

    Args:
        save: keeps the JSON; what it raises of an OSError is passed over.
        earlier: the JSON that an earlier attempt left.
        facts: what is known from the beginning: `run_hash`, `parameters` and more.
    """

    def __init__(self, save: Save, earlier: bytes | None, facts: Mapping[str, Any]) -> None:
        self._save = save
        self._lock = threading.Lock()
        self._progress = Progress()
        self._written = float("-inf")
        now = _now()
        before = _earlier(earlier, str(facts["run_hash"]))
        self._document: dict[str, Any] = {
            "format": FORMAT,
            **facts,
            "started": before.get("started", now),
            "attempt_started": now,
            "earlier_seconds": _seconds_of(before),
            "state": "running",
            **({"data": before["data"]} if "data" in before else {}),
            # Of an attempt that trains nothing more, they stay.
            "seconds": before.get("seconds", {}),
        }
        self._phases: dict[str, float] = {}

    def now(self) -> dict[str, Any]:
        """Return the record as it is now."""
        with self._lock:
            return dict(self._document)

    def begins(self) -> None:
        """Keep what is known at the beginning."""
        with self._lock:
            self._write()

    def sees(self, line: bytes) -> None:
        """Take a line of the boot file's output, which may say how far it is."""
        if not self._progress.sees(line[:500].decode(errors="replace")):
            return
        with self._lock:
            done = self._progress.now
            if done is None or self._document["state"] != "running":
                return
            self._document["progress"] = _progress(done)
            if time.monotonic() - self._written >= _PROGRESS_SECONDS:
                self._write()

    def phase(self, name: str, seconds: float) -> None:
        """Note down how long a phase took."""
        with self._lock:
            self._phases[name] = seconds
            self._document["seconds"] = dict(self._phases)
            self._write()

    def reads(self, data: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Note down which data is read in the store; return what an earlier attempt has noted."""
        with self._lock:
            before = self._document.get("data")
            self._document["data"] = before or dict(data)
            return before if isinstance(before, Mapping) else None

    def measured(self, metrics: Mapping[str, float]) -> None:
        """Note down the model's metrics; they may still miss a bar."""
        with self._lock:
            self._document["metrics"] = dict(metrics)

    def published(self, version: int) -> None:
        """Note down the number of the version that the run has published."""
        with self._lock:
            self._document["version"] = version

    def ends(self, state: State, cause: str = "", log: Path | None = None) -> None:
        """Note down how the attempt ended. The first end that is told counts.

        Args:
            state: how.
            cause: why, in one line; empty if it succeeded.
            log: its end says more of the cause.
        """
        with self._lock:
            if self._document["state"] != "running":
                return
            if state == "interrupted" and "version" in self._document:
                state, cause = "succeeded", ""
            self._document["state"], self._document["ended"] = state, _now()
            if cause:
                self._document["cause"] = " ".join(cause.split())
            if log is not None:
                self._document["last_lines"] = _end_of(log)
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        self._document["written"] = _now()
        with contextlib.suppress(OSError):
            self._save(json.dumps(self._document, indent=2).encode())


def into(file: Path) -> Save:
    """Return what keeps a record in a file, of which no reader sees half."""

    def save(content: bytes) -> None:
        temporary = file.with_name(f".{file.name}.part")
        temporary.write_bytes(content)
        os.replace(temporary, file)

    return save


def nowhere(_content: bytes) -> None:
    """Keep no record: a worker other than the first."""


def at(client: Client, url: S3Url) -> tuple[Save, bytes | None]:
    """Return what keeps a record in the store, and the one that is there; None for none."""

    def save(content: bytes) -> None:
        with contextlib.suppress(StoreError):
            objects.write(client, url, content)

    try:
        return save, objects.read(client, url)
    except StoreError:
        return save, None


def read(file: Path) -> bytes | None:
    """Return what an earlier attempt left in `file`, if it did."""
    try:
        return file.read_bytes()
    except OSError:
        return None


def _earlier(content: bytes | None, run_hash: str) -> dict[str, Any]:
    """Return the record of an earlier attempt; empty if there is none that can be used."""
    try:
        document = json.loads(content or b"{}")
        fits = document.get("run_hash") == run_hash and document.get("format") == FORMAT
        datetime.fromisoformat(document["started"])
        return dict(document) if fits else {}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _seconds_of(before: Mapping[str, Any]) -> float:
    """Return how long the earlier attempts took together, as far as they said it."""
    try:
        began = datetime.fromisoformat(before["attempt_started"])
        # One that was killed wrote last when it last said how far it was.
        until = datetime.fromisoformat(before.get("ended") or before["written"])
        return round(float(before["earlier_seconds"]) + (until - began).total_seconds(), 3)
    except (ValueError, KeyError, TypeError):
        return 0.0


def _progress(done: Done) -> dict[str, Any]:
    found: dict[str, Any] = {"done": done.done, "total": done.total, "unit": done.unit}
    found["at"] = done.at.isoformat(timespec="seconds")
    if done.end is not None:
        found["end"] = done.end.isoformat(timespec="seconds")
    return found


def _end_of(log: Path) -> str:
    """Return the last lines of a log."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LAST_LINES_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
