"""Which programs on PATH are taken, and what is said of those that are not."""

from pathlib import Path

import pytest

from local.build.on_path import usable


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def put(script: str) -> str:
        path = tmp_path / "tool"
        path.write_text(script)
        path.chmod(0o755)
        return str(path)

    monkeypatch.setenv("PATH", str(tmp_path))
    return put


def test_one_that_is_new_enough_is_taken(program):
    path = program("#!/bin/sh\necho v3.166.0-dev\n")
    assert usable("tool", ("version",), (3, 166)) == path


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("#!/bin/sh\necho v3.99.0\n", "it is 3.99.0, and 3.166 or newer is needed"),
        ("#!/bin/sh\necho no >&2; exit 1\n", "does not say its version: no"),
        ("#!/no/such/interpreter\n", "which does not run"),
    ],
)
def test_one_that_will_not_do_is_named_and_left(program, capsys, script, said):
    path = program(script)
    assert usable("tool", ("version",), (3, 166)) is None
    error = capsys.readouterr().err
    assert path in error
    assert said in error


def test_one_that_is_not_there_needs_no_word(program, capsys):
    assert usable("tool", ("version",), (3, 166)) is None
    assert not capsys.readouterr().err
