"""What `pulumi destroy` knows of dlstack:forceDestroy, from a program in the place of `pulumi`."""

from pathlib import Path

import pytest

from infra.resources import engine, force


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with the answer of `pulumi`; its exit status is 1 while there is none."""
    program = tmp_path / "pulumi"
    program.write_text(f'#!/bin/sh\ntest "$5" = prod && cat {tmp_path}/answer\n')
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(engine, "stack", lambda: "prod")
    force._configured.cache_clear()
    return tmp_path / "answer"


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("now", [True, False])
def test_what_is_configured_now_counts(answer: Path, before: bool, now: bool) -> None:
    """Symptom: set right before `pulumi destroy`, it counted only after an `up`."""
    answer.write_text(f"{now}\n".lower())
    assert force.is_forced({"force_destroy": before}) is now


@pytest.mark.parametrize("before", [True, False])
def test_without_an_answer_the_state_counts(answer: Path, before: bool) -> None:
    assert force.is_forced({"force_destroy": before}) is before


def test_outside_of_pulumi_nobody_is_asked(answer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer.write_text("true")
    monkeypatch.setattr(engine, "stack", lambda: None)
    assert force.is_forced({}) is False
