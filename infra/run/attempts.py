"""The attempts at a training run: which Job of it there is, and which one there is to be.

Pure functions over the API's JSON; nothing is asked here.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..cluster.jobs import end_of, pod_annotations
from ..cluster.names import ATTEMPT_ANNOTATION, COMMIT_ANNOTATION, RUN_HASH_ANNOTATION

EXIT_TERMINATED = 143
"""The agent's status after SIGTERM, and of nothing else: the pod was deleted."""


@dataclass(frozen=True)
class Attempt:
    """One Job of a run: what tells it from an earlier one."""

    number: int = 1
    commit: str | None = None
    """Git commit of the code when the Job was made."""


def next_attempt(
    jobs: Iterable[Mapping[str, Any]], run_hash: str, commit: Callable[[], str | None]
) -> Attempt:
    """Return the attempt at a run that there is to be, given the Jobs that there are.

    It is a new one when the last one failed, so that the next `pulumi up` tries again what failed
    for a passing reason. (`pulumi.com/replaceUnready` would do so too, but it would also replace a
    Job that went well after an interrupted `pulumi up`.) Else it is the last one as it was: a
    commit that changes no code makes no other Job.

    Args:
        jobs: of the namespace, as the cluster's API tells them.
        run_hash: of the run.
        commit: says which commit the code is of now.
    """
    latest, failed = None, False
    for job in jobs:
        annotations = pod_annotations(job)
        if annotations.get(RUN_HASH_ANNOTATION) != run_hash:
            continue
        number = int(annotations.get(ATTEMPT_ANNOTATION, "1"))
        if latest is None or number > latest.number:
            latest = Attempt(number, annotations.get(COMMIT_ANNOTATION))
            end = end_of(job)
            failed = end is not None and end["type"] == "Failed"
    if latest is None:
        return Attempt(1, commit())
    return Attempt(latest.number + 1, commit()) if failed else latest


def is_there(jobs: Iterable[Mapping[str, Any]], run_hash: str, attempt: Attempt) -> bool:
    """Say whether one of `jobs` is this attempt at the run, so that no new Job will be made."""
    wanted = {RUN_HASH_ANNOTATION: run_hash, ATTEMPT_ANNOTATION: str(attempt.number)}
    return any(wanted.items() <= pod_annotations(job).items() for job in jobs)
