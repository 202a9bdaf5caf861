"""`python -m local` as a person calls it, where it needs no cluster."""

import os
import socket
import subprocess
import sys

import pytest

from local.build.programs import MODULES, digest
from local.console import LocalError
from local.home import REPOSITORY
from local.kubernetes.cluster import _check_free


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


def test_a_taken_port_names_who_needs_it_and_how_to_find_who_has_it():
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        with pytest.raises(LocalError, match="which kubelet needs, is in use.*ss -ltnp"):
            _check_free("kubelet", taken.getsockname()[1])


def test_a_cache_key_changes_with_names_content_and_words(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("x")
    second.write_text("x")
    keys = {digest([first]), digest([second]), digest([first], "word"), digest([first, second])}
    assert len(keys) == 4
    first.write_text("y")
    assert digest([first]) not in keys


def test_every_module_pins_its_sources():
    for folder in MODULES.iterdir():
        pinned = (folder / "go.mod").read_text()
        assert "require" not in pinned or (folder / "go.sum").exists(), folder
