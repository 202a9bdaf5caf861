"""`python -m local` as a person calls it, where it needs no cluster."""

import os
import re
import subprocess
import sys

import pytest

from local.__main__ import COMMANDS
from local.home import REPOSITORY


def run(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "local", *words],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_a_kubeconfig_that_does_not_exist_is_quoted(tmp_path):
    done = run("up", KUBECONFIG=str(tmp_path / "none"), DLSTACK_HOME=str(tmp_path))
    assert done.returncode == 1
    assert f"KUBECONFIG is '{tmp_path / 'none'}', and there is no such file" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_brought_cluster_needs_an_image_it_can_pull(tmp_path):
    (tmp_path / "config").write_text("{}")
    done = run("up", KUBECONFIG=str(tmp_path / "config"), DLSTACK_HOME=str(tmp_path))
    assert done.returncode == 1
    assert "set RUNTIME_IMAGE to its name" in done.stderr


@pytest.mark.parametrize("command", ["status", "destroy", "down"])
def test_there_is_nothing_to_do_where_nothing_is(tmp_path, command):
    done = run(command, DLSTACK_HOME=str(tmp_path), KUBECONFIG="")
    assert done.returncode == 0
    assert "nothing" in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())


def test_help_says_what_each_command_does():
    done = run("--help")
    assert done.returncode == 0
    assert re.findall(r"^    (\w+) +[A-Z]", done.stdout, re.MULTILINE) == list(COMMANDS)
