"""The attempts at a training run: which Job of it there is, and which one there is to be.

Pure functions over the API's JSON; nothing is asked here.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..cluster.jobs import end_of, is_active, is_going, pod_annotations
from ..cluster.names import (
    ATTEMPT_ANNOTATION,
    COMMIT_ANNOTATION,
    DIGEST_ANNOTATION,
    RUN_HASH_ANNOTATION,
    TRAINING,
)
from .run_hash import short


@dataclass(frozen=True)
class Attempt:
    """One Job of a run: what tells it from an earlier one."""

    number: int = 1
    commit: str | None = None
    """Git commit of the code when the Job was made."""


def latest(jobs: Iterable[Mapping[str, Any]], run_hash: str) -> Mapping[str, Any] | None:
    """Return the Job of the last attempt at a run, of all `jobs` of the namespace."""
    mine = [job for job in jobs if pod_annotations(job).get(RUN_HASH_ANNOTATION) == run_hash]
    return max(mine, key=number_of, default=None)


def number_of(job: Mapping[str, Any]) -> int:
    """Return which attempt at its run a Job is."""
    return int(pod_annotations(job).get(ATTEMPT_ANNOTATION, "1"))


def stands(job: Mapping[str, Any] | None, digest: str) -> bool:
    """Say whether a Job is what there is to be: it goes on, or has ended well.

    One that failed or was cancelled is not, so that the next `pulumi up` tries again; nor one that
    was made of other settings, such as a bar: then the next attempt goes on from its checkpoint.

    Args:
        job: the last attempt at a run.
        digest: of the settings that the Job is made of.
    """
    if job is None or is_going(job):
        return False
    end = end_of(job)
    ended_well = end is not None and end["type"] == "Complete"
    made_of = (job["metadata"].get("annotations") or {}).get(DIGEST_ANNOTATION)
    return made_of == digest and (ended_well or is_active(job))


def next_attempt(
    job: Mapping[str, Any] | None, digest: str, commit: Callable[[], str | None], *, lost: bool
) -> Attempt:
    """Return the attempt at a run that there is to be.

    It is the last one as it was, if that stands: a commit that changes no code makes no other Job.

    Args:
        job: the last attempt at the run.
        digest: of the settings that the Job is made of.
        commit: says which commit the code is of now.
        lost: what the run has published is gone or damaged.
    """
    if job is None:
        return Attempt(1, commit())
    if not stands(job, digest) or (lost and end_of(job) is not None):
        return Attempt(number_of(job) + 1, commit())
    return Attempt(number_of(job), pod_annotations(job).get(COMMIT_ANNOTATION))


def job_name(run_hash: str, attempt: Attempt) -> str:
    """Return the name of a Job: the same attempt is the same Job, whoever makes it and when."""
    return f"{TRAINING}-{short(run_hash)}-{attempt.number}"
