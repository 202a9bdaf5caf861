"""Checksums of a local folder: what is uploaded, and what counts as a change."""

from pathlib import Path

import pulumi
import pytest

from infra.run import checksums


def test_checksums_leave_out_what_is_no_source(tmp_path: Path) -> None:
    for file in ("a.py", "sub/b.txt", ".git/config", "__pycache__/a.pyc", ".venv/x", "c.pyc"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("content")
    assert list(checksums.folder(tmp_path, "codeDir")) == ["a.py", "sub/b.txt"]


def test_checksums_of_a_file_are_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert checksums.folder(tmp_path, "codeDir")["empty"].startswith("e3b0c44298fc1c14")


def test_checksums_of_no_files_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(pulumi.RunError, match="dataDir '.*' has no files"):
        checksums.folder(tmp_path, "dataDir")


def test_checksums_of_a_broken_link_name_it(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(pulumi.RunError, match="link' can't be read: No such file"):
        checksums.folder(tmp_path, "dataDir")
