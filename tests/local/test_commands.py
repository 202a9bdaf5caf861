"""`python -m local` as a person calls it, where it needs no cluster."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from local.__main__ import COMMANDS
from local.home import REPOSITORY
from tests.local import fake_pulumi

SHELL = ("PULUMI_STACK", "PULUMI_BACKEND_URL", "KUBECONFIG", "DLSTACK_CONTEXT", "YES")


def context(name):
    return {"name": name, "context": {"cluster": "mine", "user": "me"}}


KUBECONFIG = {
    "current-context": "mine",
    "contexts": [context("mine")],
    "clusters": [{"name": "mine", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "me", "user": {"token": "x"}}],
}


def run(*words, stdin=subprocess.DEVNULL, **environment):
    clean = {name: value for name, value in os.environ.items() if name not in SHELL}
    return subprocess.run(
        [sys.executable, "-m", "local", *words],
        cwd=REPOSITORY,
        env={**clean, **environment},
        stdin=stdin,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def cluster_of_mine(tmp_path):
    """Variables of a shell: a cluster that is brought, a home of its own, and a `pulumi`."""
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(json.dumps(KUBECONFIG))
    home = tmp_path / "home"
    (home / "pulumi").mkdir(parents=True)
    pulumi = fake_pulumi.install(tmp_path / "programs", resources=3)
    return {"KUBECONFIG": str(kubeconfig), "DLSTACK_HOME": str(home), **pulumi}


def pulumi_calls(variables):
    return [words[0] for words in fake_pulumi.calls(Path(variables["PATH"].split(os.pathsep)[0]))]


def test_a_kubeconfig_that_does_not_exist_is_quoted(tmp_path):
    done = run("up", KUBECONFIG=str(tmp_path / "none"), DLSTACK_HOME=str(tmp_path))
    assert done.returncode == 1
    assert f"KUBECONFIG is '{tmp_path / 'none'}', and there is no such file" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_context_without_a_kubeconfig_is_told_by_the_variable_that_is_set(tmp_path):
    done = run("up", DLSTACK_CONTEXT="kind-kind", HOME=str(tmp_path), DLSTACK_HOME=str(tmp_path))
    assert done.returncode == 1
    assert "DLSTACK_CONTEXT is 'kind-kind', and there is no kubeconfig" in done.stderr
    assert "KUBECONFIG is" not in done.stderr


def test_the_doctor_looks_at_what_a_context_needs_alone(tmp_path):
    done = run("doctor", DLSTACK_CONTEXT="kind-kind", DLSTACK_HOME=str(tmp_path))
    assert "uses the cluster of DLSTACK_CONTEXT=kind-kind" in done.stdout
    assert "capabilities" not in done.stdout


def test_a_reader_that_has_gone_is_no_error(tmp_path):
    """As with `make status | head -1`."""
    program = (
        "from local import __main__, commands\n"
        "def status(platform):\n"
        "    '''Say more than a pipe holds.'''\n"
        "    print('a line\\n' * 100_000)\n"
        "__main__.COMMANDS['status'] = status\n"
        "import sys; sys.argv = ['local', 'status']\n"
        "sys.exit(__main__.main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env={**os.environ, "DLSTACK_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""


def test_a_brought_cluster_needs_an_image_it_can_pull(tmp_path):
    config = tmp_path / "config"
    config.write_text(json.dumps(KUBECONFIG))
    done = run("up", KUBECONFIG=str(config), DLSTACK_HOME=str(tmp_path), RUNTIME_IMAGE="")
    assert done.returncode == 1
    assert "set RUNTIME_IMAGE to its name" in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "has no current context. Choose one by `kubectl config use-context`"),
        ("{a: [", "can't be read"),
        ('{"current-context": "gone"}', "has no context 'gone'; it has: none"),
    ],
)
def test_a_kubeconfig_that_leads_nowhere_is_told(tmp_path, content, said):
    (tmp_path / "config").write_text(content)
    done = run("up", KUBECONFIG=str(tmp_path / "config"), DLSTACK_HOME=str(tmp_path / "home"))
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "home").exists()


def test_of_several_kubeconfigs_the_first_ones_context_counts(cluster_of_mine, tmp_path):
    (tmp_path / "contexts").write_text('{"current-context": "mine"}')
    paths = f"{tmp_path / 'none'}:{tmp_path / 'contexts'}:{cluster_of_mine['KUBECONFIG']}"
    variables = {**cluster_of_mine, "KUBECONFIG": paths, "RUNTIME_IMAGE": "mine:1"}
    done = run("up", **variables)
    assert done.returncode == 0, done.stderr
    assert f"KUBECONFIG={paths}, context 'mine'" in done.stderr
    assert f"export KUBECONFIG={paths}\n" in run("env", **variables).stdout


def test_a_named_context_is_the_current_one_in_the_shell_of_make_env(cluster_of_mine):
    """`kubectl`, `pulumi` and `python -m infra` all take it, and no credentials are copied."""
    kubeconfig = Path(cluster_of_mine["KUBECONFIG"])
    document = {**KUBECONFIG, "contexts": [*KUBECONFIG["contexts"], context("kind-dev")]}
    kubeconfig.write_text(json.dumps(document))
    done = run("env", DLSTACK_CONTEXT="kind-dev", **cluster_of_mine)
    (line,) = [line for line in done.stdout.splitlines() if "KUBECONFIG" in line]
    value = line.partition("=")[2]
    first, _, second = value.partition(":")
    assert json.loads(Path(first).read_text()) == {
        **{"apiVersion": "v1", "kind": "Config"},
        "current-context": "kind-dev",
    }
    assert second == str(kubeconfig)
    again = run("env", **{**cluster_of_mine, "DLSTACK_CONTEXT": "kind-dev", "KUBECONFIG": value})
    assert line in again.stdout.splitlines()


@pytest.mark.parametrize("command", ["status", "destroy", "down", "stop"])
def test_there_is_nothing_to_do_where_nothing_is(tmp_path, command):
    done = run(command, DLSTACK_HOME=str(tmp_path), KUBECONFIG="")
    assert done.returncode == 0
    assert "nothing" in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())


def test_without_a_cluster_no_node_can_be_lost(tmp_path):
    done = run("node", "dlstack-2", "kill", DLSTACK_HOME=str(tmp_path), KUBECONFIG="")
    assert done.returncode == 1
    assert "error: no cluster of this machine runs. `NODES=3 make up` starts one." in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_number_of_nodes_is_told_to_change_nothing_in_a_cluster_that_is_brought(cluster_of_mine):
    done = run("up", NODES="3", RUNTIME_IMAGE="x", **cluster_of_mine)
    assert "NODES=3 is for a cluster that is made here, and changes nothing" in done.stderr


@pytest.mark.parametrize("words", [("env",), ("run", "--", "true")])
def test_without_a_cluster_there_is_nothing_to_ask(tmp_path, words):
    done = run(*words, DLSTACK_HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert re.search(
        "error: (there is no cluster here|the cluster does not run).*`make up`", (done.stderr)
    )
    assert not list(tmp_path.iterdir())


def test_a_stack_on_a_cluster_that_the_shell_no_longer_names_stays(cluster_of_mine):
    del cluster_of_mine["KUBECONFIG"]
    done = run("destroy", **cluster_of_mine)
    assert done.returncode == 1
    assert "the stack 'local' is on another cluster" in done.stderr
    assert "destroy" not in pulumi_calls(cluster_of_mine)


def test_help_says_what_each_command_does():
    done = run("--help")
    assert done.returncode == 0
    assert re.findall(r"^    (\w+) +[A-Z]", done.stdout, re.MULTILINE) == [
        *COMMANDS,
        "doctor",
        "run",
        "node",
    ]


@pytest.mark.parametrize("command", ["destroy", "down"])
def test_what_the_shell_names_is_not_destroyed_unless_somebody_says_yes(cluster_of_mine, command):
    """Symptom otherwise: `make down` in the shell of one's work destroys production."""
    done = run(command, PULUMI_STACK="local", **cluster_of_mine)
    assert done.returncode == 1
    assert "deletes the stack 'local', which your shell names" in done.stderr
    assert f"KUBECONFIG={cluster_of_mine['KUBECONFIG']}" in done.stderr
    assert "Set YES=1" in done.stderr
    assert "destroy" not in pulumi_calls(cluster_of_mine)


def test_yes_can_be_said_beforehand(cluster_of_mine):
    done = run("destroy", YES="1", **cluster_of_mine)
    assert done.returncode == 0, done.stderr
    assert "which your shell names (KUBECONFIG=" in done.stderr
    assert "destroy" in pulumi_calls(cluster_of_mine)


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 1), ("", 1)])
def test_a_person_is_asked(cluster_of_mine, answer, status):
    keyboard, terminal = pty.openpty()
    try:
        os.write(keyboard, f"{answer}\n".encode())
        done = run("down", stdin=terminal, **cluster_of_mine)
    finally:
        os.close(keyboard)
        os.close(terminal)
    assert done.returncode == status, done.stderr
    assert "Go on? [y/N]" in done.stderr
    assert ("destroy" in pulumi_calls(cluster_of_mine)) == (status == 0)
    assert ("`make stop` stops the cluster and keeps everything" in done.stderr) == (status == 1)


def test_a_stack_of_the_shell_that_is_not_there_needs_no_yes(cluster_of_mine):
    done = run("destroy", PULUMI_STACK="prod", **cluster_of_mine)
    assert done.returncode == 0
    assert "nothing to destroy: the stack 'prod' is not deployed" in done.stderr


@pytest.fixture
def nothing_deployed(cluster_of_mine):
    fake_pulumi.install(Path(cluster_of_mine["PATH"].split(os.pathsep)[0]), resources=0)
    return cluster_of_mine


def test_the_status_of_a_stack_that_was_destroyed_is_no_error(nothing_deployed):
    done = run("status", **nothing_deployed)
    assert done.returncode == 0
    assert "the stack 'local' is not deployed. `make up` deploys it." in done.stdout
    assert f"your shell names what this acts on: KUBECONFIG={nothing_deployed['KUBECONFIG']}" in (
        done.stderr
    )


def test_a_password_in_what_the_shell_names_is_not_shown(nothing_deployed):
    url = "postgres://eve:secret@db.example.com/pulumi"
    done = run("status", PULUMI_BACKEND_URL=url, **nothing_deployed)
    assert "PULUMI_BACKEND_URL=postgres://db.example.com/pulumi" in done.stderr
    assert "secret" not in done.stdout + done.stderr


def test_a_command_that_asks_a_stack_says_that_there_is_none(nothing_deployed):
    done = run("run", "--", "false", **nothing_deployed)
    assert done.returncode == 1
    assert "error: the stack 'local' is not deployed. `make up` deploys it." in done.stderr


def test_a_command_runs_with_the_stack_s_variables_and_its_own_status(cluster_of_mine):
    code = "import os, sys; sys.exit(os.environ['PULUMI_STACK'] == 'local' and 7)"
    assert run("run", "--", sys.executable, "-c", code, **cluster_of_mine).returncode == 7


def test_the_shell_is_left_to_select_a_stack(cluster_of_mine):
    """Symptom otherwise: after `pulumi stack init other` all commands still change `local`."""
    done = run("env", **cluster_of_mine)
    assert "export PULUMI_BACKEND_URL=" in done.stdout
    assert "PULUMI_STACK" not in done.stdout
