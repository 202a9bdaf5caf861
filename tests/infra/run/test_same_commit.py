"""The same commit has the same checksums, whatever Git makes of it on the machine.

Real repositories, with the settings that Git has on Windows and macOS. Not covered: their file
systems.
"""

from pathlib import Path

import pytest

from infra.run import checksums
from tests.infra.program.test_program import in_git

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One with texts and other files, all of them in its commit."""
    folder = tmp_path / "repository"
    (folder / "sub").mkdir(parents=True)
    (folder / "train.py").write_bytes(b"print('training')\nprint('done')\n")
    (folder / "sub" / "umlaut.txt").write_bytes("drücken\n".encode())
    (folder / "no_end.txt").write_bytes(b"one\ntwo")
    (folder / "empty.py").touch()
    (folder / "run.sh").write_bytes(b"#!/bin/sh\necho\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "weights.bin").write_bytes(bytes(range(256)) + b"\r\n\n" * 10)
    (folder / "old_mac.txt").write_bytes(b"a\rb\r\nc\n")
    (folder / "utf16.txt").write_bytes("a\r\nb\n".encode("utf-16"))
    (folder / "rare.dat").write_bytes(b"\x01\x02\n" * 9)
    (folder / "windows.txt").write_bytes(b"a\r\nb\r\n")
    (folder / "mixed.txt").write_bytes(b"a\r\nb\n")
    in_git(folder, "init", "--quiet")
    in_git(folder, "-c", "core.autocrlf=false", "add", ".")
    in_git(folder, "commit", "--quiet", "--message=first")
    return folder


@pytest.mark.parametrize(
    "setting",
    ["core.autocrlf=true", "core.autocrlf=input", "core.eol=crlf", "core.fileMode=false"],
)
def test_a_checkout_has_the_same_checksums(repository: Path, tmp_path: Path, setting: str) -> None:
    clone = tmp_path / "clone"
    in_git(tmp_path, "clone", "--quiet", "-c", setting, str(repository), str(clone))
    changed = (clone / "train.py").read_bytes() != (repository / "train.py").read_bytes()
    assert changed == (setting == "core.autocrlf=true")
    assert checksums.code(clone, "x") == checksums.code(repository, "x")


def test_a_file_that_an_editor_has_saved_with_crlf_is_the_same(repository: Path) -> None:
    before = checksums.code(repository, "x")
    text = (repository / "train.py").read_bytes().replace(b"\n", b"\r\n")
    (repository / "train.py").write_bytes(text)
    assert checksums.code(repository, "x") == before


def test_this_repository_has_no_crlf_in_any_checkout(tmp_path: Path) -> None:
    """Its packages are part of the run hash of everybody's stack."""
    names = in_git(ROOT, "ls-files", "--", "training", "serving", "store").splitlines()
    attributes = in_git(ROOT, "check-attr", "eol", "--", *names).splitlines()
    assert {line.rsplit(": ", 1)[1] for line in attributes} == {"lf"}


def test_a_submodule_that_is_not_checked_out_is_refused_by_name(
    repository: Path, tmp_path: Path
) -> None:
    """Git leaves an empty folder there, and a run would lack the code."""
    project, clone = tmp_path / "project", tmp_path / "clone"
    project.mkdir()
    (project / "train.py").touch()
    (project / "empty").mkdir()
    in_git(project, "init", "--quiet")
    allowed = ("-c", "protocol.file.allow=always")
    in_git(project, *allowed, "submodule", "add", "--quiet", str(repository), "layers")
    in_git(project, "add", ".")
    in_git(project, "commit", "--quiet", "--message=first")
    assert "layers/train.py" in checksums.code(project, "x")
    in_git(tmp_path, "clone", "--quiet", str(project), str(clone))
    with pytest.raises(Exception, match="'layers' is a submodule that is not checked out"):
        checksums.code(clone, "x")
    (clone / ".dlstackignore").write_text("/layers/\n")
    assert list(checksums.code(clone, "x")) == ["train.py"]
