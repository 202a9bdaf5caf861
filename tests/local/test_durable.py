"""Files that are kept: known as torn when they are, and whole under their name.

That the disk has them at a power cut is the kernel's promise (fsync).
"""

import pytest

from local import durable
from local.durable import is_whole, settle, settle_checked
from local.home import write_private


@pytest.fixture
def program(tmp_path):
    unfinished, target = tmp_path / "program.new", tmp_path / "program"
    unfinished.write_bytes(b"machine code")
    settle_checked(unfinished, target)
    return target


def test_a_kept_file_has_its_name_alone_and_is_whole(program):
    assert program.read_bytes() == b"machine code"
    assert {path.name for path in program.parent.iterdir()} == {"program", "program.sha256"}
    assert is_whole(program, thoroughly=True)


def test_a_file_of_another_size_is_torn(program):
    program.write_bytes(b"machine")
    assert not is_whole(program)


def test_a_file_of_the_same_size_and_another_content_is_torn(program):
    program.write_bytes(b"machine c\0\0\0")
    assert is_whole(program)
    assert not is_whole(program, thoroughly=True)


def test_what_an_earlier_version_kept_counts_as_whole_unless_it_is_empty(tmp_path):
    assert not is_whole(tmp_path / "program")
    (tmp_path / "program").touch()
    assert not is_whole(tmp_path / "program")
    (tmp_path / "program").write_bytes(b"machine code")
    assert is_whole(tmp_path / "program")


def test_the_content_is_on_the_disk_before_the_name(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(durable, "_sync", lambda path: order.append(path.name))
    unfinished, target = tmp_path / "a.new", tmp_path / "a"
    unfinished.touch()
    settle(unfinished, target)
    assert order == ["a.new", tmp_path.name]
    order.clear()
    write_private(tmp_path / "keys" / "ca.key", b"secret")
    assert order == ["ca.key.new", "keys"]
