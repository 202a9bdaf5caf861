"""The record that a run keeps of itself: `run.json` in its folder (docs/contracts.md)."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from store.client import Client
from store.errors import Gone, StoreError
from store.objects import read
from store.urls import S3Url

from ..cluster.last_words import last_words
from .run_hash import short

_FORMAT = 1


@dataclass(frozen=True)
class Progress:
    """How far a run said last that it was."""

    done: float
    total: int
    unit: str
    """`steps` or `epochs`."""
    at: datetime
    end: datetime | None
    """When all would be done; None as long as nothing could be told."""


@dataclass(frozen=True)
class Record:
    """What a run says of itself."""

    run_hash: str
    model_name: str
    state: str
    """`running`, `succeeded`, `failed` or `interrupted`; a killed one still says `running`."""
    cause: str
    """Why it has not succeeded, with the line that says most of its log; else empty."""
    attempt: int
    started: datetime
    """Of the first attempt."""
    attempt_started: datetime
    ended: datetime | None
    written: datetime
    earlier_seconds: float
    """How long the earlier attempts took."""
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    version: int | None
    progress: Progress | None
    document: Mapping[str, Any] = field(repr=False, compare=False)
    """All of it, as written."""

    def seconds(self, until: datetime) -> float:
        """Return how long all attempts took together; the last one to its end or `until` then."""
        last = (self.ended or until) - self.attempt_started
        return self.earlier_seconds + max(0.0, last.total_seconds())


def of_run(client: Client, bucket: str, run: str) -> Record | None:
    """Return the record of a run; None if it has none, or one that can't be read as such.

    Args:
        client: of the store.
        bucket: the output bucket.
        run: the run hash, or its first digits.
    """
    try:
        return parse(read(client, S3Url(bucket, f"runs/{short(run)}/run.json")))
    except Gone:
        return None


def progress_of(client: Client, bucket: str, run: str) -> Progress | None:
    """Return how far a run that trains says it is; None if it doesn't, or the store is away."""
    try:
        record = of_run(client, bucket, run)
    except StoreError:
        return None
    return record.progress if record is not None and record.state == "running" else None


def parse(content: bytes) -> Record | None:
    """Return what a record says; None if it is none of a format that is known here."""
    try:
        told = json.loads(content)
        if told["format"] != _FORMAT:
            return None
        cause = str(told.get("cause", ""))
        said = last_words(str(told.get("last_lines", "")))
        ended, progress = told.get("ended"), told.get("progress")
        return Record(
            run_hash=str(told["run_hash"]),
            model_name=str(told["model_name"]),
            state=str(told["state"]),
            cause=f"{cause}: {said}" if said else cause,
            attempt=int(told["attempt"]),
            started=_time(told["started"]),
            attempt_started=_time(told["attempt_started"]),
            ended=_time(ended) if ended else None,
            written=_time(told["written"]),
            earlier_seconds=float(told["earlier_seconds"]),
            parameters={str(name): str(one) for name, one in told["parameters"].items()},
            metrics=_numbers(told.get("metrics")),
            version=int(told["version"]) if told.get("version") is not None else None,
            progress=_progress(progress) if progress else None,
            document={**told, **_parts(told)},
        )
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return None


def progress_text(progress: Progress, now: datetime) -> str:
    """Return `step 300 of 1000 (30 %), about 4 min left, until 14:05 UTC`."""
    unit = progress.unit.removesuffix("s")
    if unit == "epoch" and progress.done < progress.total:
        # The one that is under way.
        count = int(progress.done) + 1
    else:
        count = int(progress.done)
    text = f"{unit} {count} of {progress.total} ({100 * progress.done / progress.total:.0f} %)"
    if progress.end is None or progress.done >= progress.total:
        return text
    left = (progress.end - now).total_seconds()
    if left <= 0:
        return text
    zone = progress.end.astimezone()
    form = "%H:%M %Z" if left < 20 * 3600 else "%Y-%m-%d %H:%M %Z"
    return f"{text}, about {rough_duration(left)} left, until {zone.strftime(form)}"


def rough_duration(seconds: float) -> str:
    """Return `40 s`, `5 min`, `2 h 10 min` or `3 days`: an estimate has no more digits."""
    if seconds < 55:
        return f"{max(5, 5 * round(seconds / 5))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        hours, rest = divmod(10 * round(minutes / 10), 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{round(minutes / 1440)} days"


def _numbers(told: Mapping[str, Any] | None) -> dict[str, float]:
    return {
        str(name): one
        for name, one in (told or {}).items()
        if isinstance(one, int | float) and math.isfinite(one)
    }


def _parts(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what others read of the document, of the types that they expect."""
    return {
        "provenance": dict(told.get("provenance") or {}),
        "seconds": _numbers(told.get("seconds")),
        "sources": {part: dict(one) for part, one in (told.get("sources") or {}).items()},
    }


def _progress(told: Mapping[str, Any]) -> Progress:
    end = told.get("end")
    done, total = float(told["done"]), int(told["total"])
    if not 0 <= done <= total or total == 0:
        raise ValueError(f"{done} of {total} is no progress")
    return Progress(
        done,
        total,
        str(told["unit"]),
        _time(told["at"]),
        _time(end) if end else None,
    )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
