"""The Makefile, as far as it does not only call `python -m local`."""

import os
import shutil
import subprocess
import venv
from pathlib import Path

import pytest

from local.home import REPOSITORY

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone in which nothing was made yet."""
    for name in ("Makefile", "requirements.txt", "requirements-dev.txt", "local/requirements.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    return tmp_path


def make(clone: Path, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    # By `make test` these would be of a make within a make.
    outer = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFL"))
    }
    return subprocess.run(
        ["make", *words],
        cwd=clone,
        env={**outer, "DLSTACK_HOME": str(clone / "home"), **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("target", ["predict", "status", "logs", "cancel", "env"])
def test_before_make_up_what_asks_says_so_and_makes_nothing(clone, target):
    before = sorted(clone.rglob("*"))
    done = make(clone, target, "IMAGE=a.png")
    assert done.returncode
    assert done.stdout == ""
    assert done.stderr.startswith("nothing is here yet: run `make up`")
    assert sorted(clone.rglob("*")) == before


@pytest.fixture
def called(clone):
    """`make WORDS` with a Python that prints the words that it is called with."""
    python = clone / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    (clone / ".venv" / ".installed").touch()
    (clone / ".venv" / "bin" / "dlstack").touch()

    def call(*words: str, **environment: str) -> list[str]:
        done = make(clone, *words, **environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return call


@pytest.mark.parametrize(
    "name", ["a b.png", "it's.png", 'say "7".png', "-7.png", "$HOME.png", "`7`"]
)
def test_a_picture_may_have_any_name(called, name):
    words = called("predict", f"IMAGE={name.replace('$', '$$')}")
    assert words[-2:] == ["--", name]


def test_a_picture_of_the_home_folder(called):
    assert called("predict", "IMAGE=~/7.png", HOME="/home/x")[-1] == "/home/x/7.png"


def test_the_run_of_a_log(called):
    assert called("logs", "RUN=5a1d")[-3:] == ["logs", "--run", "5a1d"]
    assert called("logs")[-2:] == ["logs", "-f"]


def test_the_command_of_the_client_works_in_every_folder_and_follows_the_checkout(tmp_path):
    """`make env` puts `.venv/bin` on PATH."""
    venv.create(tmp_path / "venv", symlinks=True)
    (tmp_path / "venv" / ".installed").touch()
    command = tmp_path / "venv" / "bin" / "dlstack"
    done = make(REPOSITORY, str(command), f"VENV={tmp_path / 'venv'}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (tmp_path / "labels.txt").write_text("0:zero\n")
    done = subprocess.run(
        ["dlstack", "labels", "labels.txt"],
        cwd=tmp_path,
        env={"PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0: zero\n", "")
    where = "import dlstack_client; print(dlstack_client.__path__[0])"
    found = subprocess.check_output([command.parent / "python", "-c", where], cwd=tmp_path)
    assert Path(os.fsdecode(found.strip())).resolve() == REPOSITORY / "client"
