"""The next attempt at a run: when another Job is made of it, and with which commit."""

from collections.abc import Sequence
from typing import Any

import pytest

from infra.run.attempts import Attempt, job_name, latest, next_attempt, stands

SAME = "made of the same"


def job(
    run: str,
    attempt: str,
    condition: str | None,
    commit: str | None = None,
    *,
    digest: str = SAME,
    suspend: bool = False,
    deleted: bool = False,
) -> dict[str, Any]:
    annotations = {"dlstack.dev/run-hash": run, "dlstack.dev/attempt": attempt}
    if commit:
        annotations["dlstack.dev/commit"] = commit
    conditions = [{"type": condition, "status": "True"}] if condition else []
    metadata: dict[str, Any] = {"annotations": {"dlstack.dev/settings": digest}}
    if deleted:
        metadata["deletionTimestamp"] = "2026-03-01T10:00:00Z"
    return {
        "metadata": metadata,
        "spec": {"suspend": suspend, "template": {"metadata": {"annotations": annotations}}},
        "status": {"conditions": conditions},
    }


def next_of(
    jobs: Sequence[dict[str, Any]], commit: str | None = None, *, lost: bool = False
) -> Attempt:
    return next_attempt(latest(jobs, "run"), SAME, lambda: commit, lost=lost)


def test_the_attempt_is_the_first_for_a_new_run() -> None:
    jobs = [job("other", "3", "Failed", "old")]
    assert next_of(jobs, "new") == Attempt(1, "new")


@pytest.mark.parametrize("condition", [None, "Complete"])
def test_the_attempt_stays_while_the_last_did_not_fail(condition: str | None) -> None:
    """Symptom otherwise: an `up` without changes that replaces the Job."""
    jobs = [job("run", "2", condition), job("run", "1", "Failed")]
    assert next_of(jobs) == Attempt(2)
    assert stands(latest(jobs, "run"), SAME)


@pytest.mark.parametrize("then", ["a" * 40, None])
def test_the_attempt_keeps_its_commit_while_no_code_changes(then: str | None) -> None:
    """Symptom otherwise: a commit of something else trains anew."""
    assert next_of([job("run", "1", "Complete", then)], "b" * 40) == Attempt(1, then)


@pytest.mark.parametrize(
    "last",
    [
        job("run", "10", "Failed"),
        job("run", "10", None, suspend=True),
        job("run", "10", None, deleted=True),
        job("run", "10", None, digest="of another bar"),
        job("run", "10", "Complete", digest="of another bar"),
    ],
    ids=["failed", "cancelled", "being deleted", "other settings", "ended, other settings"],
)
def test_the_attempt_rises_when_the_last_does_not_stand(last: dict[str, Any]) -> None:
    jobs = [last, job("run", "9", "Failed")]
    assert not stands(latest(jobs, "run"), SAME)
    assert next_of(jobs, "new") == Attempt(11, "new")


def test_a_run_whose_model_is_lost_is_attempted_again_once_its_job_has_ended() -> None:
    assert next_of([job("run", "1", "Complete")], "new", lost=True) == Attempt(2, "new")
    assert next_of([job("run", "1", None)], "new", lost=True) == Attempt(1)


def test_a_job_of_the_same_attempt_has_the_same_name_whoever_makes_it() -> None:
    """So an `up` after a killed one takes the Job over that goes on, and makes no second one."""
    run = "5a1dcbe5" * 8
    assert job_name(run, Attempt(1, "one")) == job_name(run, Attempt(1, "two"))
    assert job_name(run, Attempt(12)) == "training-5a1dcbe55a1d-12"
