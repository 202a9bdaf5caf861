"""A full disk: known by what programs say, and told with what is free."""

import errno
import subprocess
import sys

import pytest

from local import disk
from local.build import images
from local.console import LocalError
from local.machine.processes import run_logged


@pytest.mark.parametrize(
    "said",
    [
        "panic: write /x/member/wal/0.wal: no space left on device",
        "OSError: [Errno 28] No space left on device: 'x'",
    ],
)
def test_programs_say_it_in_the_kernels_words(said, tmp_path):
    error = disk.full(said, tmp_path)
    assert f"the disk of {tmp_path} is full: " in str(error)
    assert " GiB are free. Free some" in str(error)


def test_other_words_are_another_error(tmp_path):
    assert disk.full("permission denied", tmp_path) is None


def test_a_command_that_fills_the_disk_is_told_as_that(tmp_path):
    words = [sys.executable, "-c", "import os; raise OSError(28, os.strerror(28))"]
    with pytest.raises(LocalError, match="is full: .* GiB are free"):
        run_logged(words, tmp_path / "log")


def told(number, home):
    """What the command line says when it can't write one of our files, as that of the state."""
    program = (
        "import os, sys\n"
        "from local import __main__\n"
        "def status(platform):\n"
        f"    raise OSError({number}, os.strerror({number}), 'file')\n"
        "__main__.COMMANDS['status'] = status\n"
        "sys.argv = ['local', 'status']\n"
        "sys.exit(__main__.main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"DLSTACK_HOME": str(home), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_file_that_has_no_room_is_told_in_one_sentence(tmp_path):
    said = told(errno.ENOSPC, tmp_path)
    assert said.startswith(f"error: the disk of {tmp_path} is full: ")


def test_a_disk_that_is_read_only_is_told_in_one_sentence(tmp_path):
    assert told(errno.EROFS, tmp_path).startswith("error: file can't be changed. Mount its disk")


def test_an_image_that_has_no_room_is_not_blamed(tmp_path):
    """Its archive is whole: making it again would take minutes and not help."""

    def ctr(*words):
        return subprocess.CompletedProcess(words, 1, "", "ctr: write /x: no space left on device")

    with pytest.raises(LocalError, match=f"the disk of {tmp_path} is full"):
        images._import(ctr, "image", tmp_path / "image.tar", tmp_path)
