"""Which commit a code folder comes from, in real repositories."""

from pathlib import Path

import pytest

from infra.run import git
from tests.infra.program.test_program import in_git

FILES = {"train.py", "sub/model.py"}


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A code folder in a work tree, with all that it has committed."""
    folder = tmp_path / "work tree" / "code"
    (folder / "sub").mkdir(parents=True)
    for file in FILES:
        (folder / file).write_text("1")
    in_git(tmp_path / "work tree", "init", "--quiet")
    in_git(folder, "add", ".")
    in_git(folder, "commit", "--quiet", "--message=first")
    return folder


def test_a_clean_folder_is_of_the_commit(code: Path) -> None:
    head = in_git(code, "rev-parse", "HEAD")
    assert git.commit(code, FILES) == head and len(head) == 40


def test_changes_elsewhere_do_not_count(code: Path) -> None:
    (code.parent / "notes.txt").write_text("not part of the code folder")
    (code / "__pycache__").mkdir()
    (code / "__pycache__" / "train.pyc").write_text("not uploaded")
    assert git.commit(code, FILES) == in_git(code, "rev-parse", "HEAD")


@pytest.mark.parametrize("file", ["train.py", "sub/model.py", "new file.py", "ignored.txt"])
def test_a_changed_untracked_or_ignored_file_is_told(code: Path, file: str) -> None:
    (code.parent / ".gitignore").write_text("ignored.txt\n")
    (code / file).write_text("2")
    head = in_git(code, "rev-parse", "HEAD")
    assert git.commit(code, {*FILES, file}) == f"{head}-dirty"


@pytest.mark.parametrize("staged", [False, True])
def test_a_deleted_file_is_told(code: Path, staged: bool) -> None:
    (code / "train.py").unlink()
    if staged:
        in_git(code, "add", "--all")
    assert str(git.commit(code, {"sub/model.py"})).endswith("-dirty")


def test_without_git_there_is_none(
    tmp_path: Path, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert git.commit(tmp_path, FILES) is None
    empty = tmp_path / "empty"
    empty.mkdir()
    in_git(empty, "init", "--quiet")
    assert git.commit(empty, FILES) is None
    monkeypatch.setenv("PATH", str(empty))
    assert git.commit(code, FILES) is None
