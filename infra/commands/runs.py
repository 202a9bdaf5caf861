"""What the output bucket knows of training runs and of the models that they published."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pulumi

from store import models
from store.client import Client
from store.models import Damaged, Manifest
from store.objects import changed_at, list_folders
from store.parallel import in_parallel
from store.urls import S3Url

from ..run.run_hash import short
from .job_log import log_key


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


@dataclass(frozen=True)
class Run:
    """A training run that left a log in the bucket."""

    run: str
    """The first digits of its hash."""
    written: datetime
    """When its log was written to last."""
    version: Version | None
    """The newest intact one that it published."""


def versions(client: Client, bucket: str, model: str) -> list[Version]:
    """Return the published versions of `model`, the newest first."""

    def told(version: models.Version, found: Manifest | Damaged) -> Version:
        if isinstance(found, Damaged):
            return Version(version.number, found.run_hash, {}, None, found.problem)
        created = found.document.get("created") or None
        return Version(version.number, found.run_hash, found.metrics, created)

    url = S3Url(bucket, f"models/{model}")
    return [told(*one) for one in models.check(client, url)]


def runs(client: Client, bucket: str, published: Iterable[Version]) -> list[Run]:
    """Return the runs that left a log, the newest first."""
    names = list_folders(client, S3Url(bucket, "runs"))

    def written(name: str) -> datetime | None:
        return changed_at(client, S3Url(bucket, log_key(name, 0)))

    logs = zip(names, in_parallel(written, names), strict=True)
    by_run: dict[str, Version] = {}
    for one in published:
        if not one.damage:
            by_run.setdefault(short(one.run_hash), one)
    found = [Run(name, moment, by_run.get(name)) for name, moment in logs if moment is not None]
    return sorted(found, key=lambda run: run.written, reverse=True)


def the_run(prefix: str, known: Sequence[str]) -> str:
    """Return the one of the `known` runs whose hash begins with `prefix`.

    Args:
        prefix: some first digits of a hash, or all.
        known: hashes, or their first digits, the newest first.

    Raises:
        pulumi.RunError: there is none, or more than one.
    """
    found = {short(run): run for run in known if _fits(run, prefix)}
    if len(found) == 1:
        return next(iter(found.values()))
    shown = ", ".join(dict.fromkeys(short(run) for run in known[:10])) or "none"
    problem = f"fits {len(found)} runs: {', '.join(found)}" if found else "fits no run"
    advice = "Give more digits" if found else f"These runs are known, the newest first: {shown}"
    raise pulumi.RunError(f"--run '{prefix}' {problem}. {advice}.")


def _fits(run: str, prefix: str) -> bool:
    # Folders have only the first digits of a hash, and a whole hash may be asked for.
    return run.startswith(prefix) or (run == short(run) and prefix.startswith(run))


def as_json(run: Run) -> dict[str, Any]:
    """Return what `python -m infra runs --json` prints of a run."""
    return {
        "run": run.run,
        "written": run.written.isoformat(),
        "version": run.version.version if run.version else None,
        "metrics": dict(run.version.metrics) if run.version else None,
    }
