"""The platform's folder: room on its disk, one command at a time."""

import os
import subprocess
import sys

import pytest

from local.console import LocalError
from local.home import REPOSITORY, Home


def test_a_second_command_is_refused_and_told_which_process_is_at_work(tmp_path):
    home = Home(tmp_path)
    second = (
        "from pathlib import Path; from local.home import Home\n"
        f"with Home(Path({str(tmp_path)!r})).locked(): pass"
    )
    with home.locked():
        done = subprocess.run(
            [sys.executable, "-c", second], cwd=REPOSITORY, capture_output=True, text=True
        )
    assert done.returncode
    assert "is at work in" in done.stderr
    with home.locked():
        pass


def test_a_disk_without_room_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(LocalError, match="GiB free, and 1000000 GiB are needed"):
        Home(tmp_path / "new").make_room(1_000_000)


def test_a_folder_that_cannot_be_made_names_the_way_out(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalError, match="Set DLSTACK_HOME"):
        Home(tmp_path / "file" / "below").make_room(0)


@pytest.mark.parametrize("name", ["a:b", "a\nb"])
def test_a_path_that_no_list_of_paths_can_hold_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.setenv("DLSTACK_HOME", str(tmp_path / name))
    with pytest.raises(LocalError, match="Set DLSTACK_HOME to a folder whose path has none"):
        Home.from_environment()


def test_a_name_that_no_folder_can_have_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("DLSTACK_HOME", str(tmp_path / ("x" * 300)))
    with pytest.raises(LocalError, match="File name too long.* Set DLSTACK_HOME to another"):
        Home.from_environment()


def test_state_and_logs_are_nobody_elses_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        home = Home(tmp_path / "home")
        home.make_room(0)
    finally:
        os.umask(before)
    modes = {path: path.stat().st_mode & 0o777 for path in (home.stacks, home.cache / "logs")}
    assert set(modes.values()) == {0o700}


def test_the_environment_moves_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DLSTACK_HOME", str(tmp_path / "elsewhere"))
    assert Home.from_environment().root == tmp_path / "elsewhere"
