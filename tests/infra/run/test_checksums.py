"""Checksums of a local folder: what is sent, and what counts as a change.

Which files are left out is in test_ignored.py, what Git does to them in test_same_commit.py.
"""

import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pulumi
import pytest

from infra.run import checksums, line_ends

Sums = Callable[[Path, str], dict[str, str]]
both = pytest.mark.parametrize("sums", [checksums.code, checksums.data])


def test_checksums_of_a_file_are_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    large = os.urandom(2**20 + 1)
    (tmp_path / "large").write_bytes(large)
    for sums in (checksums.code, checksums.data):
        found = sums(tmp_path, "folder")
        assert found["empty"].startswith("e3b0c44298fc1c14")
        assert found["large"] == hashlib.sha256(large).hexdigest()


@both
def test_checksums_of_no_files_are_an_error(sums: Sums, tmp_path: Path) -> None:
    with pytest.raises(pulumi.RunError, match="dlstack:dataDir '.*' has no files"):
        sums(tmp_path, "dlstack:dataDir")
    (tmp_path / "empty" / "folder").mkdir(parents=True)
    with pytest.raises(pulumi.RunError, match="has no files"):
        sums(tmp_path, "dlstack:dataDir")
    with pytest.raises(pulumi.RunError, match="none' is not a folder"):
        sums(tmp_path / "none", "dlstack:dataDir")


@both
def test_links_are_followed(sums: Sums, tmp_path: Path) -> None:
    """Symptom: `data/train -> /nas/train` was left out, and the run trained on less."""
    far, here = tmp_path / "far", tmp_path / "here"
    (far / "deep").mkdir(parents=True)
    (far / "deep" / "a.txt").write_text("a")
    here.mkdir()
    (here / "train").symlink_to(far)
    (here / "again").symlink_to(far)
    (here / "one.txt").symlink_to(far / "deep" / "a.txt")
    a = hashlib.sha256(b"a").hexdigest()
    assert sums(here, "x") == {"again/deep/a.txt": a, "one.txt": a, "train/deep/a.txt": a}


@both
@pytest.mark.parametrize("target", [".", "..", "../..", "../../far/sub/back"])
def test_a_link_to_a_folder_around_it_is_refused_by_name(
    sums: Sums, tmp_path: Path, target: str
) -> None:
    (tmp_path / "here" / "sub").mkdir(parents=True)
    (tmp_path / "here" / "sub" / "a").touch()
    (tmp_path / "far" / "sub").mkdir(parents=True)
    (tmp_path / "far" / "sub" / "back").symlink_to("../../here")
    (tmp_path / "here" / "sub" / "loop").symlink_to(target)
    with pytest.raises(pulumi.RunError, match="x '.*here': 'sub/loop.*' is a link to a folder"):
        sums(tmp_path / "here", "x")


@both
def test_what_can_not_be_sent_is_refused_by_name(sums: Sums, tmp_path: Path) -> None:
    def refused(path: str, why: str) -> None:
        with pytest.raises(pulumi.RunError, match=why):
            sums(tmp_path, "x")
        os.remove(os.fsencode(tmp_path) + b"/" + os.fsencode(path))

    (tmp_path / "a").touch()
    (tmp_path / "link").symlink_to("nowhere")
    refused("link", "'link' is a link to nothing")
    (tmp_path / "link").symlink_to("link")
    refused("link", "'link' .*symbolic links")
    os.mkfifo(tmp_path / "pipe")
    refused("pipe", "'pipe' is neither a file nor a folder")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        refused("socket", "'socket' is neither a file nor a folder")
    for name, why in {
        "caf\udce9": r"'caf\\udce9' has a name .* not in UTF-8",
        "two\nlines": r"'two\\nlines' has a name with control characters",
        "back\\slash": r"has a backslash in its name",
    }.items():
        (tmp_path / name).touch()
        refused(name, why)
    deep = "/".join(["d" * 200] * 6)
    (tmp_path / deep).mkdir(parents=True)
    (tmp_path / deep / "a").touch()
    refused(f"{deep}/a", "has a path of more than 1,000 bytes")
    assert list(sums(tmp_path, "x")) == ["a"]


@both
def test_what_can_not_be_read_is_refused_by_name(
    sums: Sums, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Symptom: a folder that nobody may read was left out without a word."""
    (tmp_path / "a").touch()
    (tmp_path / "private").mkdir()
    scandir = os.scandir

    def refusing(path: str) -> object:
        if str(path).endswith("private"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    # Root may read everything.
    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(pulumi.RunError, match="'private' can't be read: Permission denied"):
        sums(tmp_path, "x")


@both
def test_a_pointer_of_git_lfs_is_not_the_file(sums: Sums, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    )
    with pytest.raises(pulumi.RunError, match="'train.csv' is a pointer of Git LFS"):
        sums(tmp_path, "x")


def test_names_of_code_are_in_one_form_of_unicode_and_those_of_data_as_they_are(
    tmp_path: Path,
) -> None:
    (tmp_path / "cafe\u0301.py").touch()
    assert list(checksums.code(tmp_path, "x")) == ["caf\u00e9.py"]
    assert list(checksums.data(tmp_path, "x")) == ["cafe\u0301.py"]
    (tmp_path / "caf\u00e9.py").touch()
    assert len(checksums.data(tmp_path, "x")) == 2
    with pytest.raises(pulumi.RunError, match="'café.py' is there twice, in two spellings"):
        checksums.code(tmp_path, "x")


def test_names_that_differ_in_case_only_are_different_files(tmp_path: Path) -> None:
    (tmp_path / "Model.py").touch()
    (tmp_path / "model.py").touch()
    assert list(checksums.code(tmp_path, "x")) == ["Model.py", "model.py"]


def test_modes_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("echo\n")
    before = checksums.code(tmp_path, "x")
    (tmp_path / "run.sh").chmod(0o755)
    assert checksums.code(tmp_path, "x") == before


@pytest.mark.parametrize(
    ("content", "sent"),
    [
        (b"a\r\nb\r\n", b"a\nb\n"),
        (b"a\r\nb\n", b"a\nb\n"),
        ("ä\r\n".encode(), "ä\n".encode()),
        (b"a\r\n\x1a", b"a\n\x1a"),
        (b"", b""),
        # Not text, as Git sees it.
        (b"a\r\n\0", b"a\r\n\0"),
        (b"a\r\nb\rc", b"a\r\nb\rc"),
        (b"a\r\n\r", b"a\r\n\r"),
        (b"\x01\r\n", b"\x01\r\n"),
        ("a\r\n".encode("utf-16"), "a\r\n".encode("utf-16")),
    ],
)
@pytest.mark.parametrize("in_memory", [2**20, 1])
def test_texts_of_code_have_lf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, sent: bytes, in_memory: int
) -> None:
    monkeypatch.setattr(line_ends, "IN_MEMORY_BYTES", in_memory)
    (tmp_path / "file").write_bytes(content)
    with line_ends.open_with_lf(tmp_path / "file") as file:
        assert file.read() == sent
    assert checksums.code(tmp_path, "x")["file"] == hashlib.sha256(sent).hexdigest()
    assert checksums.data(tmp_path, "x")["file"] == hashlib.sha256(content).hexdigest()


def test_a_large_text_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_ends, "IN_MEMORY_BYTES", 2**10)
    # Of 7 bytes: CR and LF fall into different pieces somewhere.
    (tmp_path / "file").write_bytes(b"five!\r\n" * 600_000)
    with line_ends.open_with_lf(tmp_path / "file") as file:
        assert file.read() == b"five!\n" * 600_000
