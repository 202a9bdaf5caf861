"""The training runs of a stack: from their records, from manifests, and from the cluster's Jobs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from store import models
from store.client import Client
from store.models import Damaged, Manifest
from store.objects import changed_at, list_folders
from store.parallel import in_parallel
from store.urls import S3Url

from ..run import run_record
from ..run.run_hash import short
from ..run.run_record import Record
from .job_log import log_key
from .job_state import JobState


@dataclass(frozen=True)
class Version:
    """A published version of a model, from its manifest."""

    version: int
    run_hash: str
    metrics: Mapping[str, float]
    created: str | None
    """RFC 3339 time."""
    damage: str = ""
    """What is wrong with it; empty for one that can be served."""
    model: str = ""
    document: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """Its manifest."""


@dataclass(frozen=True)
class Known:
    """A run that left something in the bucket."""

    run: str
    """The first digits of its hash."""
    written: datetime
    """When its record or, of an earlier dlstack, its log was written last."""
    record: Record | None


@dataclass(frozen=True)
class Run:
    """A training run, as far as it is known."""

    run: str
    """The first digits of its hash."""
    written: datetime
    model: str
    """Empty if nothing says it."""
    state: str
    """That of its last attempt; `killed` if the process could not say how it ended, `lost` if the
    cluster can't either, empty if nothing is known."""
    cause: str
    """Why it waits or has not succeeded; else empty."""
    started: datetime | None
    seconds: float | None
    """Of all attempts together, until now if it runs."""
    parameters: Mapping[str, str] | None
    """None if nothing says them."""
    metrics: Mapping[str, float]
    published: Sequence[Version]
    """The intact versions that it published, the newest first, of its last model first."""
    record: Record | None
    document: Mapping[str, Any] = field(repr=False)
    """Its record, or else the manifest of what it published: `provenance` and `sources`."""

    @property
    def version(self) -> Version | None:
        """The newest that it published."""
        return self.published[0] if self.published else None


def versions(client: Client, bucket: str, model: str) -> list[Version]:
    """Return the published versions of `model`, the newest first."""

    def told(version: models.Version, found: Manifest | Damaged) -> Version:
        if isinstance(found, Damaged):
            return Version(version.number, found.run_hash, {}, None, found.problem, model)
        created = found.document.get("created") or None
        return Version(
            version.number, found.run_hash, found.metrics, created, "", model, found.document
        )

    url = S3Url(bucket, f"models/{model}")
    return [told(*one) for one in models.check(client, url)]


def all_versions(client: Client, bucket: str) -> list[Version]:
    """Return the published versions of all models that the stack ever had."""
    names = list_folders(client, S3Url(bucket, "models"))
    return [one for name in names for one in versions(client, bucket, name)]


def known(client: Client, bucket: str) -> list[Known]:
    """Return the runs that left a record or a log, the newest first."""
    names = list_folders(client, S3Url(bucket, "runs"))

    def look(name: str) -> Known | None:
        record = run_record.of_run(client, bucket, name)
        if record is not None:
            return Known(name, record.written, record)
        written = changed_at(client, S3Url(bucket, log_key(name, 0)))
        return Known(name, written, None) if written is not None else None

    found = [one for one in in_parallel(look, names) if one is not None]
    return sorted(found, key=lambda one: one.written, reverse=True)


def runs(
    found: Iterable[Known], jobs: Iterable[JobState], published: Iterable[Version], now: datetime
) -> list[Run]:
    """Return the runs, the one that began last first.

    Args:
        found: in the bucket.
        jobs: of all runs that the cluster still has some of.
        published: versions of all models.
        now: the present time.
    """
    newest: dict[str, JobState] = {}
    for job in jobs:
        run = short(job.run_hash)
        if run not in newest or newest[run].attempt < job.attempt:
            newest[run] = job
    by_run: dict[str, list[Version]] = {}
    for one in published:
        if not one.damage:
            by_run.setdefault(short(one.run_hash), []).append(one)
    in_bucket = {one.run: one for one in found}
    # One that waits for its first pod has left nothing in the bucket yet.
    names = dict.fromkeys([*in_bucket, *newest])
    told = [
        _run(name, in_bucket.get(name), newest.get(name), by_run.get(name, []), now)
        for name in names
    ]
    return sorted(told, key=lambda run: run.started or run.written, reverse=True)


def _run(
    run: str, found: Known | None, job: JobState | None, published: list[Version], now: datetime
) -> Run:
    record = found.record if found else None
    model = record.model_name if record else ""
    published.sort(key=lambda one: (one.model != model, -_ordinal(one.created), -one.version))
    newest = published[0] if published else None
    state, cause = state_of(record, job, published=newest is not None)
    manifest = newest.document if newest else {}
    started, seconds = _times(record, job, state, manifest, now)
    document = record.document if record else manifest
    metrics = record.metrics if record and record.metrics else newest.metrics if newest else {}
    return Run(
        run=run,
        written=found.written if found else started or now,
        model=model or (newest.model if newest else ""),
        state=state,
        cause=cause,
        started=started,
        seconds=seconds,
        parameters=document.get("parameters"),
        metrics=metrics,
        published=published,
        record=record,
        document=document,
    )


def state_of(record: Record | None, job: JobState | None, *, published: bool) -> tuple[str, str]:
    """Return how the last attempt at a run is, and why, from what it says and its Job.

    Args:
        record: absent of a run of an earlier dlstack, or one that has not begun.
        job: of its last attempt that the cluster still has.
        published: whether there is an intact version of it.
    """
    if record is None:
        if job is not None:
            return job.state, job.reason
        return ("succeeded" if published else ""), ""
    if job is None or job.attempt < record.attempt:
        if record.state != "running":
            return record.state, record.cause
        return "lost", "its Job is gone, and it never said how it ended"
    if job.state in ("pending", "running", "cancelled") or job.attempt > record.attempt:
        return job.state, job.reason
    if record.state == "failed" or job.state == record.state or job.state == "succeeded":
        return job.state, record.cause if job.state == "failed" else ""
    # It was killed, or its time was over, and the cluster knows why.
    return ("killed" if record.state == "running" else "failed"), job.reason


def _times(
    record: Record | None,
    job: JobState | None,
    state: str,
    manifest: Mapping[str, Any],
    now: datetime,
) -> tuple[datetime | None, float | None]:
    """Return when a run began, and how many seconds it took."""
    if record is not None:
        is_its = job is not None and job.attempt == record.attempt
        until = now if state == "running" else record.written
        if state == "killed" and is_its and job is not None and job.seconds is not None:
            return record.started, record.earlier_seconds + job.seconds
        return record.started, record.seconds(until)
    if job is not None and job.started:
        return datetime.fromisoformat(job.started).astimezone(UTC), job.seconds
    took = manifest.get("seconds")
    if took and manifest.get("created"):
        seconds = float(sum(took.values()))
        ended = datetime.fromisoformat(manifest["created"]).astimezone(UTC)
        return ended - timedelta(seconds=seconds), seconds
    return None, None


def _ordinal(created: str | None) -> float:
    return datetime.fromisoformat(created).timestamp() if created else 0.0


def as_json(run: Run) -> dict[str, Any]:
    """Return what `python -m infra runs --json` prints of a run. Keys are only ever added."""
    progress = run.record.progress if run.record and run.state != "succeeded" else None
    return {
        "run": run.run,
        "written": run.written.isoformat(),
        "version": run.version.version if run.version else None,
        "metrics": dict(run.metrics) if run.metrics or run.version else None,
        "model": run.model or None,
        "state": run.state or None,
        "cause": run.cause or None,
        "started": run.started.isoformat() if run.started else None,
        "seconds": round(run.seconds, 3) if run.seconds is not None else None,
        "parameters": dict(run.parameters) if run.parameters is not None else None,
        "published": [{"model": one.model, "version": one.version} for one in run.published],
        "attempt": run.record.attempt if run.record else None,
        "progress": progress_json(progress),
        "provenance": dict(run.document.get("provenance") or {}),
        "phases": dict(run.document.get("seconds") or {}),
    }


def progress_json(progress: run_record.Progress | None) -> dict[str, Any] | None:
    """Return what `--json` prints of how far a run is."""
    if progress is None:
        return None
    return {
        "done": progress.done,
        "total": progress.total,
        "unit": progress.unit,
        "at": progress.at.isoformat(),
        "end": progress.end.isoformat() if progress.end else None,
    }
