"""A full disk: known by what programs say, and told with what is free."""

import subprocess
import sys

import pytest

from local import disk
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


def test_a_file_that_has_no_room_is_told_in_one_sentence(tmp_path):
    """The command line, when the file is one of ours: here the folder of Pulumi's state."""
    program = (
        "import errno, os, sys\n"
        "from local import __main__, commands\n"
        "def status(platform):\n"
        "    '''Fill the disk.'''\n"
        "    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'file')\n"
        "__main__.COMMANDS['status'] = status\n"
        "sys.argv = ['local', 'status']\n"
        "sys.exit(__main__.main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"DLSTACK_HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: the disk of {tmp_path} is full: ")
    assert done.stderr.count("\n") == 1
