"""The platform's folder: room on its disk, one command at a time."""

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


def test_the_environment_moves_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DLSTACK_HOME", str(tmp_path / "elsewhere"))
    assert Home.from_environment().root == tmp_path / "elsewhere"
