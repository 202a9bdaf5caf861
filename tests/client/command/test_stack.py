"""How a stack is asked for its outputs. `pulumi` is a script here; the real one runs in
tests/cluster.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from client import SettingsError
from client._command.stack import read_stack

Pulumi = Callable[[str], None]


@pytest.fixture
def pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pulumi:
    """Put a `pulumi` with the given shell script for a body on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)

    def write(body: str) -> None:
        script = folder / "pulumi"
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(0o755)

    return write


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder inside a Pulumi project."""
    (tmp_path / "project" / "inner").mkdir(parents=True)
    (tmp_path / "project" / "Pulumi.yaml").touch()
    return tmp_path / "project" / "inner"


def test_outputs_are_read_from_the_stack_of_the_folder(pulumi: Pulumi, project: Path) -> None:
    asked = 'test "$1 $2 $3 $4" = "stack output --json --show-secrets"'
    pulumi(asked + ' && printf \'{"host": "%s"}\' "$(pwd)"')
    assert read_stack(project) == {"host": str(project)}


def test_the_words_of_pulumi_are_passed_on(pulumi: Pulumi, project: Path) -> None:
    pulumi("echo 'error: no stack selected' >&2; exit 255")
    with pytest.raises(SettingsError, match=r"failed \(error: no stack selected\)"):
        read_stack(project)


def test_an_answer_that_is_no_object_is_refused(pulumi: Pulumi, project: Path) -> None:
    pulumi("echo hello")
    with pytest.raises(SettingsError, match=r"failed \(exit status 0\)"):
        read_stack(project)


def test_outside_a_project_pulumi_is_not_even_started(pulumi: Pulumi, tmp_path: Path) -> None:
    pulumi(f"touch {tmp_path}/started")
    with pytest.raises(SettingsError, match="has no Pulumi stack to ask. Give --host"):
        read_stack(tmp_path)
    assert not (tmp_path / "started").exists()


def test_without_pulumi_on_path_it_is_said(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SettingsError, match="no `pulumi` on PATH"):
        read_stack(project)
