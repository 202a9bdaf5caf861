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
    for file in (*FILES, "README.md"):
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
    (code / "README.md").write_text("changed, and not uploaded")
    assert git.commit(code, FILES) == in_git(code, "rev-parse", "HEAD")


@pytest.mark.parametrize("file", ["train.py", "sub/model.py", "new file.py", "ignored.txt"])
def test_a_changed_untracked_or_ignored_file_is_told(code: Path, file: str) -> None:
    (code.parent / ".gitignore").write_text("ignored.txt\n")
    (code / file).write_text("2")
    head = in_git(code, "rev-parse", "HEAD")
    assert git.commit(code, {*FILES, file}) == f"{head}-dirty"


def test_what_a_link_leads_to_is_of_the_commit_if_the_commit_has_it(code: Path) -> None:
    (code / "model").symlink_to("sub")
    (code / "fit.py").symlink_to("train.py")
    in_git(code, "add", ".")
    in_git(code, "commit", "--quiet", "--message=links")
    head = in_git(code, "rev-parse", "HEAD")
    files = {*FILES, "model/model.py", "fit.py"}
    assert git.commit(code, files) == head
    outside = code.parent.parent / "outside"
    outside.mkdir()
    (outside / "model.py").write_text("1")
    (code / "outside").symlink_to(outside)
    in_git(code, "add", ".")
    in_git(code, "commit", "--quiet", "--message=another link")
    head = in_git(code, "rev-parse", "HEAD")
    assert git.commit(code, {*files, "outside/model.py"}) == f"{head}-dirty"


def test_a_sparse_checkout_is_not_all_of_the_commit(code: Path) -> None:
    """Symptom: the manifest named a commit that has files which the run did not get."""
    head = in_git(code, "rev-parse", "HEAD")
    in_git(code.parent, "sparse-checkout", "set", "--no-cone", "/code/*", "!/code/sub/")
    assert not (code / "sub").exists()
    assert git.commit(code, {"train.py"}) == f"{head}-dirty"


def test_a_submodule_is_of_the_commit_while_it_is_clean(code: Path) -> None:
    layers = code.parent.parent / "layers"
    layers.mkdir()
    (layers / "layer.py").write_text("1")
    in_git(layers, "init", "--quiet")
    in_git(layers, "add", ".")
    in_git(layers, "commit", "--quiet", "--message=first")
    allowed = ("-c", "protocol.file.allow=always")
    in_git(code, *allowed, "submodule", "add", "--quiet", str(layers), "layers")
    in_git(code, "commit", "--quiet", "--message=a submodule")
    head = in_git(code, "rev-parse", "HEAD")
    files = {*FILES, "layers/layer.py"}
    assert git.commit(code, files) == head
    (code / "layers" / "layer.py").write_text("2")
    assert git.commit(code, files) == f"{head}-dirty"


def test_links_that_git_makes_text_files_of_are_found(code: Path, tmp_path: Path) -> None:
    (code / "fit.py").symlink_to("train.py")
    in_git(code, "add", ".")
    in_git(code, "commit", "--quiet", "--message=a link")
    assert git.links_as_files(code, {*FILES, "fit.py"}) == []
    clone = tmp_path / "clone"
    in_git(tmp_path, "clone", "--quiet", "-c", "core.symlinks=false", str(code.parent), str(clone))
    assert (clone / "code" / "fit.py").read_text() == "train.py"
    assert git.links_as_files(clone / "code", {*FILES, "fit.py"}) == ["fit.py"]


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
