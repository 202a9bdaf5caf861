"""The next attempt at a run: when another Job is made of it, and with which commit."""

from typing import Any

import pytest

from infra.run.attempts import Attempt, is_there, next_attempt


def job(run: str, attempt: str, condition: str | None, commit: str | None = None) -> dict[str, Any]:
    annotations = {"dlstack.dev/run-hash": run, "dlstack.dev/attempt": attempt}
    if commit:
        annotations["dlstack.dev/commit"] = commit
    conditions = [{"type": condition, "status": "True"}] if condition else []
    return {
        "spec": {"template": {"metadata": {"annotations": annotations}}},
        "status": {"conditions": conditions},
    }


def test_the_attempt_is_the_first_for_a_new_run() -> None:
    jobs = [job("other", "3", "Failed", "old")]
    assert next_attempt(jobs, "run", lambda: "new") == Attempt(1, "new")


@pytest.mark.parametrize("condition", [None, "Complete"])
def test_the_attempt_stays_while_the_last_did_not_fail(condition: str | None) -> None:
    """Symptom otherwise: an `up` without changes that replaces the Job."""
    jobs = [job("run", "2", condition), job("run", "1", "Failed")]
    assert next_attempt(jobs, "run", lambda: None) == Attempt(2)


@pytest.mark.parametrize("then", ["a" * 40, None])
def test_the_attempt_keeps_its_commit_while_no_code_changes(then: str | None) -> None:
    """Symptom otherwise: a commit of something else trains anew."""
    jobs = [job("run", "1", "Complete", then)]
    assert next_attempt(jobs, "run", lambda: "b" * 40) == Attempt(1, then)


def test_the_attempt_rises_when_the_last_failed() -> None:
    jobs = [job("run", "1", "Failed"), job("run", "2", "Failed")]
    assert next_attempt(jobs, "run", lambda: "new") == Attempt(3, "new")


@pytest.mark.parametrize(
    ("run", "number", "there"), [("run", 2, True), ("run", 3, False), ("new", 1, False)]
)
def test_only_the_same_attempt_at_the_same_run_is_there(run: str, number: int, there: bool) -> None:
    jobs = [job("run", "1", "Failed"), job("run", "2", None), job("other", "3", None)]
    assert is_there(jobs, run, Attempt(number)) is there
